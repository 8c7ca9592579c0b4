import OpenCLRuntime
import RLDGraph
import RLDMethods

/// A data set in device memory: uint8 pixels and labels, uploaded once.
package final class DeviceImageTable {
    let channels: Int
    let height: Int
    let width: Int
    let count: Int
    let pixels: Buffer
    let labels: Buffer

    package init(_ table: ImageTable, name: String, engine: DeviceEngine) throws {
        channels = table.channels
        height = table.height
        width = table.width
        count = table.count
        guard table.count > 0 else { throw InputError("image table '\(name)'", "is empty") }
        guard table.pixels.count <= engine.allocationLimit else {
            throw InputError(
                "image table '\(name)'",
                "needs \(table.pixels.count >> 20) MiB in one buffer, \(engine.device.name) allocates at most \(engine.allocationLimit >> 20) MiB",
                advice: "use fewer images (--limit)")
        }
        pixels = try Buffer(engine.context, bytes: table.pixels.count, label: "pixels of \(name)")
        labels = try Buffer(engine.context, bytes: table.labels.count * 4, label: "labels of \(name)")
        try engine.queue.write(table.pixels, to: pixels)
        try engine.queue.write(table.labels, to: labels)
    }
}

/// Where batches of one size and shape are put together: the images that teacher and student both read, and the labels.
package final class BatchBuffers {
    let batch: Int
    /// [batch, height, width, channels].
    package let images: DeviceSlice
    /// [batch], int32.
    package let labels: Buffer

    private let engine: DeviceEngine
    /// Per image, [channels, height, width].
    package let shape: [Int]
    private let indices: Buffer
    private let normalization: Buffer
    private var written: [Float] = []
    private let kernel: Kernel
    /// Only where pixels are scaled, changed in colour or mixed: eight floats per image, and the kernel.
    private let draws: Buffer
    private var augmentKernel: Kernel?
    private let pixelsPerItem: Int

    /// - Parameter shape: per image, [channels, height, width].
    package init(batch: Int, shape: [Int], engine: DeviceEngine) throws(DeviceError) {
        self.batch = batch
        self.shape = shape
        self.engine = engine
        images = DeviceSlice(try engine.makeBuffer(batch * shape.reduce(1, *), label: "batch images"))
        labels = try engine.makeBuffer(batch, label: "batch labels")
        indices = try engine.makeBuffer(batch, label: "batch indices")
        normalization = try engine.makeBuffer(2 * shape[0], label: "normalization")
        draws = try engine.makeBuffer(8 * batch, label: "augmentation")
        kernel = try engine.programs.kernel("gather_images.cl", "gather_images")
        // A CPU work-item takes a few rows of pixels, a GPU one a single pixel.
        pixelsPerItem = engine.profile == .cpu ? 8 * shape[2] : 1
    }

    /// Enqueues the gathering of one batch; returns at once.
    package func gather(_ selection: BatchSelection, from table: DeviceImageTable) throws {
        let transform = selection.transform
        let seen = [table.channels, transform.size ?? table.height, transform.size ?? table.width]
        guard seen == shape else {
            throw InputError(
                "images", "are \(seen), the network takes \(shape)",
                advice: "build the network for this data set")
        }
        guard transform.mean.count == table.channels, transform.deviation.count == table.channels else {
            throw InputError("normalisation", "has \(transform.mean.count) channels, the images have \(table.channels)")
        }
        if let bad = selection.indices.first(where: { !(0..<table.count).contains($0) }) {
            throw InputError("batch", "image index \(bad) is outside 0..<\(table.count)")
        }
        let constants = transform.mean + transform.deviation
        if written != constants {
            try engine.queue.write(constants, to: normalization)
            written = constants
        }
        try engine.queue.write(selection.indices.map(Int32.init), to: indices)
        guard !transform.resamples, selection.mixing == nil else { return try augment(selection, from: table) }
        let key = CounterRandom.splitMix64(CounterRandom.splitMix64(selection.seed) ^ UInt64(selection.epoch))
        for (index, value) in [shape[0], shape[1], shape[2], pixelsPerItem].enumerated() {
            try kernel.setArgument(index, Int32(value))
        }
        for (index, buffer) in [table.pixels, table.labels, indices, normalization, images.buffer].enumerated() {
            try kernel.setArgument(4 + index, buffer)
        }
        try kernel.setArgument(9, UInt64(images.offset))
        try kernel.setArgument(10, labels)
        try kernel.setArgument(11, key)
        try kernel.setArgument(12, Int32(transform.cropPadding))
        try kernel.setArgument(13, Int32(transform.horizontalFlip ? 1 : 0))
        try engine.queue.enqueue(kernel, global: [ceilDivide(shape[1] * shape[2], pixelsPerItem), batch])
    }

    /// Makes what batches need whose pixels are scaled, changed in colour or mixed.
    private func prepareAugmentation() throws(DeviceError) {
        guard augmentKernel == nil else { return }
        augmentKernel = try engine.programs.kernel("augment_images.cl", "augment_images")
    }

    private func augment(_ selection: BatchSelection, from table: DeviceImageTable) throws {
        guard [1, 3].contains(table.channels) else {
            throw InputError(
                "images", "have \(table.channels) channels; those with 1 or 3 are scaled, changed in colour or mixed")
        }
        try prepareAugmentation()
        guard let augmentKernel else { return }
        let values = selection.indices.flatMap {
            selection.transform.placement(
                seed: selection.seed, epoch: selection.epoch, index: $0, height: table.height, width: table.width
            ).values
        }
        try engine.queue.write(values, to: draws)
        let box = selection.mixing?.box ?? [0, 0, 0, 0]
        let mode = selection.mixing.map { $0.box == nil ? 1 : 2 } ?? 0
        try augmentKernel.setArguments([
            .int(table.channels), .int(table.height), .int(table.width), .int(shape[1]), .int(shape[2]), .int(pixelsPerItem),
            .buffer(table.pixels), .buffer(table.labels), .buffer(indices), .buffer(draws), .buffer(normalization),
            .slice(images),
            .buffer(labels), .int(mode), .float(selection.mixing?.share ?? 1), .int(box[0]), .int(box[1]), .int(box[2]),
            .int(box[3]),
        ])
        try engine.queue.enqueue(augmentKernel, global: [ceilDivide(shape[1] * shape[2], pixelsPerItem), batch])
    }
}
