import OpenCLRuntime
import RLDGraph
import RLDMethods

/// A data set on the device: labels, and uint8 pixels, uploaded once or batch by batch.
package final class DeviceImageTable {
    let channels: Int
    let height: Int
    let width: Int
    let count: Int
    /// That its labels name.
    let classes: Int
    let labels: Buffer
    var imageShape: [Int] { [channels, height, width] }
    private let pixels: Pixels

    private enum Pixels {
        case resident(Buffer)
        case staged(StagedPixels)
    }

    /// Waits until all is there: batches may be gathered on another queue than the engine's.
    package init(_ table: ImageTable, name: String, staged: Bool = false, engine: DeviceEngine) throws {
        channels = table.channels
        height = table.height
        width = table.width
        count = table.count
        classes = table.classes
        labels = try Buffer(engine.context, bytes: table.labels.count * 4, label: "labels of \(name)")
        try engine.queue.write(table.labels, to: labels)
        guard !staged else {
            pixels = .staged(
                try StagedPixels(imageSize: table.imageSize, label: "pixels of a batch of \(name)", context: engine.context))
            try engine.queue.finish()
            return
        }
        guard table.bytes <= engine.allocationLimit else {
            throw InputError(
                "image table '\(name)'",
                "needs \(table.bytes >> 20) MiB in one buffer, \(engine.device.name) allocates at most \(engine.allocationLimit >> 20) MiB",
                advice: "give --set streaming=auto, which uploads batch by batch")
        }
        let buffer = try Buffer(engine.context, bytes: table.bytes, label: "pixels of \(name)")
        try engine.queue.write(table.pixels, to: buffer)
        try engine.queue.finish()
        pixels = .resident(buffer)
    }

    /// Makes room for batches of so many images, so that no step allocates.
    func reserve(images: Int) throws(DeviceError) {
        if case .staged(let pixels) = pixels { try pixels.reserve(images: images) }
    }

    /// Calls `enqueue` with the pixels of a selection's images, and whether they are those of the batch alone, in its order.
    /// - Parameter queue: on which they will be read.
    func use(_ selection: BatchSelection, on queue: CommandQueue, _ enqueue: (Buffer, Bool) throws -> Void) throws {
        switch pixels {
        case .resident(let buffer): try enqueue(buffer, false)
        case .staged(let pixels):
            try pixels.use(try selection.stagedPixels(imageSize: channels * height * width), on: queue) { try enqueue($0, true) }
        }
    }
}
