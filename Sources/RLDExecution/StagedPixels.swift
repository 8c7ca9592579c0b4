import OpenCLRuntime

/// Where the pixels of a table lie that is too large for the device: two buffers in turn, so that one batch is copied by a queue
/// of its own while the device still works on the one before.
final class StagedPixels {
    private let context: Context
    private let transfers: CommandQueue
    private let imageSize: Int
    private let label: String
    private var buffers: [Buffer?] = [nil, nil]
    /// Over when the device has read what the buffer held.
    private var readers: [Event?] = [nil, nil]
    private var next = 0

    init(imageSize: Int, label: String, context: Context) throws(DeviceError) {
        self.context = context
        self.imageSize = imageSize
        self.label = label
        transfers = try CommandQueue(context)
    }

    /// Makes room for batches of so many images, so that no step allocates.
    func reserve(images: Int) throws(DeviceError) {
        for index in buffers.indices { _ = try reserve(index, bytes: images * imageSize) }
    }

    private func reserve(_ index: Int, bytes: Int) throws(DeviceError) -> Buffer {
        if let buffer = buffers[index], buffer.bytes >= bytes { return buffer }
        let buffer = try Buffer(context, bytes: bytes, label: label)
        buffers[index] = buffer
        return buffer
    }

    /// Copies the pixels of a batch and calls `enqueue` with where they are; what it enqueues on `queue` may read them.
    func use(_ pixels: [UInt8], on queue: CommandQueue, _ enqueue: (Buffer) throws -> Void) throws {
        let index = next
        next = 1 - next
        if let reader = readers[index] { try reader.finish() }
        let buffer = try reserve(index, bytes: pixels.count)
        try transfers.write(pixels, to: buffer)
        try transfers.finish()
        try enqueue(buffer)
        readers[index] = try queue.marker()
    }
}
