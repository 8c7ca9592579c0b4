import OpenCLRuntime
import RLDGraph
import RLDMethods

/// The batches of one queue, made at the first request for their size.
final class BatchPool {
    private struct Key: Hashable {
        let batch: Int
        let shape: [Int]
    }

    private let engine: DeviceEngine
    private var batches: [Key: BatchBuffers] = [:]

    init(_ engine: DeviceEngine) { self.engine = engine }

    /// - Parameter shape: per image, [channels, height, width].
    func buffers(_ batch: Int, shape: [Int]) throws(DeviceError) -> BatchBuffers {
        let key = Key(batch: batch, shape: shape)
        if let buffers = batches[key] { return buffers }
        let buffers = try BatchBuffers(batch: batch, shape: shape, engine: engine)
        batches[key] = buffers
        return buffers
    }

    /// Enqueues the gathering of a batch from a table; returns at once.
    /// - Throws: `InputError` for a selection that the table does not have, or that the network does not take.
    func gather(_ selection: BatchSelection, from table: DeviceImageTable, for network: Network) throws -> BatchBuffers {
        try selection.check(images: table.imageShape, count: table.count, classes: table.classes, network: network)
        let buffers = try buffers(selection.indices.count, shape: network.inputShape)
        try buffers.gather(selection, from: table)
        return buffers
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
    /// 0 ..< batch: where the images of a staged batch are.
    private let ownRows: Buffer
    private let normalization: Buffer
    private var written: [Float] = []
    private let kernel: Kernel
    /// Only where pixels are scaled, changed in colour or mixed: eight floats per image, and the kernel.
    private let draws: Buffer
    private var madeAugmentKernel: Kernel?
    private let pixelsPerItem: Int

    /// - Parameter shape: per image, [channels, height, width].
    package init(batch: Int, shape: [Int], engine: DeviceEngine) throws(DeviceError) {
        self.batch = batch
        self.shape = shape
        self.engine = engine
        images = DeviceSlice(try engine.makeBuffer(batch * shape.reduce(1, *), label: "batch images"))
        labels = try engine.makeBuffer(batch, label: "batch labels")
        indices = try engine.makeBuffer(batch, label: "batch indices")
        ownRows = try engine.makeBuffer(batch, label: "batch rows")
        try engine.queue.write((0..<batch).map(Int32.init), to: ownRows)
        normalization = try engine.makeBuffer(2 * shape[0], label: "normalization")
        draws = try engine.makeBuffer(8 * batch, label: "augmentation")
        kernel = try engine.programs.kernel("gather_images.cl", "gather_images")
        // A CPU work-item takes a few rows of pixels, a GPU one a single pixel.
        pixelsPerItem = engine.profile == .cpu ? 8 * shape[2] : 1
    }

    /// Enqueues the gathering of one batch, which must be one that can be (`BatchSelection.check`); returns at once.
    package func gather(_ selection: BatchSelection, from table: DeviceImageTable) throws {
        let transform = selection.transform
        let constants = transform.mean + transform.deviation
        if written != constants {
            try engine.queue.write(constants, to: normalization)
            written = constants
        }
        try engine.queue.write(selection.indices.map(Int32.init), to: indices)
        let moves = !transform.resamples && selection.mixing == nil
        try table.use(selection, on: engine.queue) { pixels, isStaged in
            let rows = isStaged ? ownRows : indices
            try moves ? move(selection, table, pixels, rows) : augment(selection, table, pixels, rows)
        }
    }

    /// Enqueues, on the engine's queue, a copy of a batch of the same size and shape that others put together.
    func copy(_ other: BatchBuffers) throws(DeviceError) {
        try engine.queue.copy(
            Float.self, from: other.images.buffer, at: other.images.offset, to: images.buffer, at: images.offset,
            count: images.count)
        try engine.queue.copy(Int32.self, from: other.labels, to: labels, count: batch)
    }

    /// Crop and flip alone.
    private func move(_ selection: BatchSelection, _ table: DeviceImageTable, _ pixels: Buffer, _ rows: Buffer) throws {
        let key = CounterRandom.splitMix64(CounterRandom.splitMix64(selection.seed) ^ UInt64(truncatingIfNeeded: selection.epoch))
        for (index, value) in [shape[0], shape[1], shape[2], pixelsPerItem].enumerated() {
            try kernel.setArgument(index, Int32(value))
        }
        for (index, buffer) in [pixels, table.labels, indices, rows, normalization, images.buffer].enumerated() {
            try kernel.setArgument(4 + index, buffer)
        }
        try kernel.setArgument(10, UInt64(images.offset))
        try kernel.setArgument(11, labels)
        try kernel.setArgument(12, key)
        try kernel.setArgument(13, Int32(selection.transform.cropPadding))
        try kernel.setArgument(14, Int32(selection.transform.horizontalFlip ? 1 : 0))
        try engine.queue.enqueue(kernel, global: [ceilDivide(shape[1] * shape[2], pixelsPerItem), batch])
    }

    private var augmentKernel: Kernel {
        get throws(DeviceError) {
            if let madeAugmentKernel { return madeAugmentKernel }
            let kernel = try engine.programs.kernel("augment_images.cl", "augment_images")
            madeAugmentKernel = kernel
            return kernel
        }
    }

    private func augment(_ selection: BatchSelection, _ table: DeviceImageTable, _ pixels: Buffer, _ rows: Buffer) throws {
        guard [1, 3].contains(table.channels) else {
            throw InputError(
                "images", "have \(table.channels) channels; those with 1 or 3 are scaled, changed in colour or mixed")
        }
        let augmentKernel = try augmentKernel
        let values = selection.indices.flatMap {
            selection.transform.placement(
                seed: selection.seed, epoch: selection.epoch, index: $0, height: table.height, width: table.width
            ).values
        }
        try engine.queue.write(values, to: draws)
        let box = selection.mixing?.box ?? [0, 0, 0, 0]
        let mode = selection.mixing.map { $0.box == nil ? 1 : $0.keepsBox ? 3 : 2 } ?? 0
        try augmentKernel.setArguments([
            .int(table.channels), .int(table.height), .int(table.width), .int(shape[1]), .int(shape[2]), .int(pixelsPerItem),
            .buffer(pixels), .buffer(table.labels), .buffer(indices), .buffer(rows), .buffer(draws), .buffer(normalization),
            .slice(images),
            .buffer(labels), .int(mode), .float(selection.mixing?.share ?? 1), .int(box[0]), .int(box[1]), .int(box[2]),
            .int(box[3]),
        ])
        try engine.queue.enqueue(augmentKernel, global: [ceilDivide(shape[1] * shape[2], pixelsPerItem), batch])
    }
}
