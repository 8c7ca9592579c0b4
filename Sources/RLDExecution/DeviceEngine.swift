import KernelSources
import OpenCLRuntime
import RLDGraph
import RLDMethods

/// One device made ready: context, in-order queue, program cache and matrix products. Owned by one task, not shared.
public final class DeviceEngine {
    public let device: Device
    public let context: Context
    public let queue: CommandQueue
    package let programs: ProgramCache
    public let profile: KernelProfile
    package let products: MatrixProducts
    /// Which register tiles the cpu profile takes.
    package let registers: RegisterTiles
    /// What multiplies in the tiles of the gpu profile.
    package let tileProduct: TileProduct
    /// Which tiles the gpu profile takes.
    package let tiles: TileChoices
    /// CLBlast's parameters and tiles, and where they came from.
    public let tuning: ChosenTuning
    /// Bytes that plans may take in all; the device's memory unless a test lowers it.
    public let memoryLimit: Int
    /// Largest single allocation, in bytes.
    package let allocationLimit: Int
    /// Sentinels around every planned value; 0 but in tests.
    package let guardElements: Int
    private var madeSecond: DeviceEngine?

    /// An engine for kernels on their own (`Softmax`, `KLDivergence` ...); an executor makes its own.
    /// - Parameters:
    ///   - profile: which kernels to use; by default those for the device's kind, or RLD_PROFILE.
    ///   - profiling: record the time of every launch (costs time; for benchmarks and traces).
    ///   - tuning: by default what `rld tune` stored for the device, or else what is shipped for its class.
    ///   - precision: of the products of convolutions and linear layers.
    /// - Throws: `.unsupported` if the device does not have the precision.
    public convenience init(
        _ device: Device, profile: KernelProfile? = nil, profiling: Bool = false, memoryLimit: Int? = nil,
        allocationLimit: Int? = nil, guardElements: Int = 0, tuning: ChosenTuning? = nil, precision: Precision = .float32
    ) throws(DeviceError) {
        try self.init(
            device, profile: profile, registers: nil, profiling: profiling, memoryLimit: memoryLimit,
            allocationLimit: allocationLimit, guardElements: guardElements, tuning: tuning, precision: precision)
    }

    /// - Parameters:
    ///   - registers: the cpu profile's tiles; those that fit the device if nil.
    ///   - emulatesMatrixUnits: compute tf32 in portable code.
    ///   - forcedTiles: of the gpu profile's convolutions.
    package init(
        _ device: Device, profile: KernelProfile? = nil, registers: RegisterClass?, profiling: Bool = false,
        memoryLimit: Int? = nil, allocationLimit: Int? = nil, guardElements: Int = 0, tuning: ChosenTuning? = nil,
        precision: Precision = .float32, emulatesMatrixUnits: Bool = false, forcedTiles: TileChoices.Forced = .init()
    ) throws(DeviceError) {
        self.device = device
        if let profile { self.profile = profile } else { self.profile = try KernelProfile.automatic(for: device) }
        tileProduct = try TileProduct(precision, on: device, profile: self.profile, emulated: emulatesMatrixUnits)
        let chosen: ChosenTuning
        if let tuning { chosen = tuning } else { chosen = try TuningStore.tuning(for: device) }
        self.tuning = chosen
        self.registers =
            registers.map { RegisterTiles($0) }
            ?? RegisterTiles(RegisterClass(nativeFloatWidth: device.nativeFloatWidth), rows: chosen.tuning.tiles)
        tiles = TileChoices(device, product: tileProduct, values: chosen.tuning.tiles, forced: forcedTiles)
        self.memoryLimit = memoryLimit ?? device.globalMemory
        self.allocationLimit = min(allocationLimit ?? device.maxAllocation, device.maxAllocation)
        self.guardElements = guardElements
        context = try Context(device)
        queue = try CommandQueue(context, profiling: profiling)
        let step = ProgramCache.Bundle(
            file: "step.cl",
            defines: ["ITEM": "\(self.profile.elementsPerItem)", "LANES": "\(self.profile.packingLanes(self.registers))"]
                .merging(tileProduct.defines) { $1 })
        // The tiles of another class of processor are only checked.
        let options = registers == nil ? "" : device.optionsOfChecks
        programs = ProgramCache(context, options: options, bundle: step) { KernelSources.source($0) }
        products = try MatrixProducts(context: context, queue: queue, parameters: chosen.tuning.clblast)
    }

    private init(besides other: DeviceEngine) throws(DeviceError) {
        (device, context, programs, profile) = (other.device, other.context, other.programs, other.profile)
        (registers, tileProduct, tiles, tuning) = (other.registers, other.tileProduct, other.tiles, other.tuning)
        (memoryLimit, allocationLimit, guardElements) = (other.memoryLimit, other.allocationLimit, other.guardElements)
        queue = try CommandQueue(context, profiling: other.queue.isProfiling)
        products = try MatrixProducts(context: context, queue: queue, parameters: tuning.tuning.clblast)
    }

    /// The same with a queue and a workspace of its own, for what may run at the same time; made at the first request.
    var second: DeviceEngine {
        get throws(DeviceError) {
            if let madeSecond { return madeSecond }
            let engine = try DeviceEngine(besides: self)
            madeSecond = engine
            return engine
        }
    }

    /// Of the products of convolutions and linear layers.
    public var precision: Precision { tileProduct.precision }

    // MARK: Memory

    /// A buffer of `count` float32 or int32 elements (at least one).
    public func makeBuffer(_ count: Int, label: String) throws(DeviceError) -> Buffer {
        guard (0...Int.max / 4).contains(count) else {
            throw DeviceError(.shapeMismatch, "buffer '\(label)' of \(count) elements: expected 0 or more")
        }
        return try Buffer(context, bytes: max(count, 1) * 4, label: label)
    }

    /// Rounds to float32 and copies before it returns.
    /// - Throws: `.shapeMismatch` for more values than the slice holds.
    public func write(_ values: [Double], to slice: DeviceSlice) throws(DeviceError) {
        try slice.check("values to write", holds: values.count, of: slice.element)
        try queue.write(values.map(Float.init), to: slice.buffer, at: slice.offset)
    }

    /// Waits for what is queued.
    public func read(_ slice: DeviceSlice) throws(DeviceError) -> [Double] {
        switch slice.element {
        case .float32: try queue.read(Float.self, from: slice.buffer, at: slice.offset, count: slice.count).map(Double.init)
        case .float16:
            try queue.read(Float16.self, from: slice.buffer, at: slice.offset, count: slice.count).map(Double.init)
        }
    }

    /// Elements that the partial sums of one weight gradient may take.
    var partialSumLimit: Int { min(4 << 20, allocationLimit / 4) }

    /// Elements between the launches of the gpu profile's Winograd convolutions, 32 MiB: what a large GPU's level-2 cache holds.
    var winogradScratch: Int { min(8 << 20, allocationLimit / 4) }

    // MARK: Launches

    /// A kernel with its arguments set.
    /// - Parameters:
    ///   - local: the work-group, for kernels that need one.
    ///   - heavyItems: each work-item does much work, so a CPU device gets work-groups of one.
    func launch(
        _ node: String, _ file: String, _ function: String, defines: [(String, String)] = [], options: String = "", global: [Int],
        local: [Int]? = nil, heavyItems: Bool = false, _ arguments: [KernelArgument]
    ) throws(DeviceError) -> Launch {
        // Such a kernel would take pairs of halves for floats, and write past the end.
        guard !arguments.contains(where: \.isHalf) || defines.contains(where: { $0.0.hasSuffix("_HALF") }) else {
            throw DeviceError(
                .failed,
                "\(file): \(function) of '\(node)' gets a value stored as half, but not the defines for it (storageDefines)")
        }
        let kernel = try programs.kernel(file, function, defines: defines, options: options)
        try kernel.setArguments(arguments)
        let local =
            heavyItems && profile == .cpu ? Array(repeating: 1, count: global.count) : local ?? kernel.workGroup(for: global)
        return Launch(node: node, work: .kernel(kernel, global: global, local: local))
    }

    /// Enqueues launches in order; returns at once.
    package func replay(_ launches: [Launch]) throws(DeviceError) {
        for launch in launches {
            switch launch.work {
            case .kernel(let kernel, let global, let local): try queue.enqueue(kernel, global: global, local: local)
            case .product(let product): try products.enqueue(product)
            }
        }
    }

    // MARK: Both queues

    /// Waits for everything that is queued.
    package func finish() throws(DeviceError) {
        try madeSecond?.finish()
        try queue.finish()
    }

    /// Waits, and returns when each launch since the last time ran, in the order of their beginnings.
    package func drainProfile() throws(DeviceError) -> [LaunchRecord] {
        guard let madeSecond else { return try queue.drainProfile() }
        return (try queue.drainProfile() + madeSecond.drainProfile()).sorted { $0.start < $1.start }
    }

    /// Runs `body` with launches that are not timed, as in training, after everything before it; waits for them.
    package func untimed(_ body: () throws -> Void) throws {
        guard let madeSecond else { return try queue.untimed(body) }
        try queue.untimed { try madeSecond.queue.untimed(body) }
    }

    // MARK: Sizes that depend on the profile

    /// Work-items of a kernel that shares out its work itself, each with `scratch` elements of its own: several per compute
    /// unit, so that one that is held up holds up little.
    func workers(_ groups: Int, scratch: Int) -> Int {
        max(1, min(groups, 4 * device.computeUnits, allocationLimit / 4 / max(scratch, 1)))
    }

    /// How many of `units` a group takes, at most `most`, so that the groups share out evenly among workers.
    func groupSize(_ units: Int, most: Int) -> Int { Self.groupSize(units, most: most, workers: 4 * device.computeUnits) }

    package static func groupSize(_ units: Int, most: Int, workers: Int) -> Int {
        // Each worker takes as many groups.
        let rounds = ceilDivide(units, workers * most)
        return ceilDivide(units, workers * rounds)
    }

    /// Elements per work-item of elementwise kernels.
    var elementsPerItem: Int { profile.elementsPerItem }

    /// Global size of a kernel over `count` elements that takes `elementsPerItem` of them per work-item, and leaves those behind the
    /// last: on a GPU full work-groups, whatever the count.
    func elementItems(_ count: Int) -> Int {
        let items = ceilDivide(count, elementsPerItem)
        return profile == .cpu ? items : ceilDivide(items, 256) * 256
    }

    /// Rows per work-item of per-channel kernels on a CPU.
    static let rowsPerItem = 128

    /// How a kernel over [columns, rows] that leaves rows behind the last takes them: rows per work-item, and work-items in the second
    /// dimension, of which some GPUs allow only 65,535 work-groups.
    func rowGroups(columns: Int, rows: Int) -> (perItem: Int, count: Int) {
        Self.rowGroups(columns: columns, rows: rows, profile: profile)
    }

    package static func rowGroups(columns: Int, rows: Int, profile: KernelProfile) -> (perItem: Int, count: Int) {
        guard profile == .gpu else { return (rowsPerItem, ceilDivide(rows, rowsPerItem)) }
        let (most, least) = Kernel.workGroupRows(beside: columns)
        let perItem = ceilDivide(rows, 65_535 * least)
        return (perItem, ceilDivide(ceilDivide(rows, perItem), most) * most)
    }

    /// Floats per vector of kernels that take a last, shorter vector too (common/lanes.clh); 1 on a GPU, where neighbouring work-items
    /// take neighbouring channels.
    var laneWidth: Int { profile == .cpu ? 16 : 1 }

    /// The same for kernels that a GPU runs with vectors too: of four channels, where all that its arguments point at begins at a
    /// multiple of four elements.
    /// - Parameter lanes: on a CPU.
    func channelVectors(
        _ channels: Int, _ arguments: [KernelArgument], lanes: Int? = nil
    ) -> (width: Int, defines: [(String, String)]) {
        let quads = profile == .gpu && channels % 4 == 0 && arguments.allSatisfy(\.isQuad)
        let width = quads ? 4 : profile == .gpu ? 1 : lanes ?? laneWidth
        return (width, [("VECTOR", "\(width)")] + (quads ? [("QUADS", "1")] : []))
    }

    /// Pixels per work-item of the grouped convolutions.
    var pixelsPerItem: Int { profile == .cpu ? 4 : 1 }

    /// Chunks of rows for two-stage sums: enough to fill the device, few enough to merge quickly.
    func rowChunks(_ rows: Int) -> (rowsPerChunk: Int, chunks: Int) {
        let rowsPerChunk = max(64, ceilDivide(rows, 256))
        return (rowsPerChunk, (rows + rowsPerChunk - 1) / rowsPerChunk)
    }
}

func ceilDivide(_ a: Int, _ b: Int) -> Int { (a + b - 1) / b }
