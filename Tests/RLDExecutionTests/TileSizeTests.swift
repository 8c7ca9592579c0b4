import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDTraining
import TestSupport
import Testing

/// Groups of tiles of the cpu profile's convolutions.
@Suite("Shares of workers") struct GroupSizeTests {
    @Test func groupsAreWholeSmallEnoughAndShareOutEvenly() {
        for units in [1, 7, 8, 9, 11, 171, 683, 10_923] {
            for (most, workers) in [(1, 8), (16, 8), (2, 8), (16, 1), (16, 256)] {
                let size = DeviceEngine.groupSize(units, most: most, workers: workers)
                #expect((1...most).contains(size), "\(units) units, at most \(most), \(workers) workers")
                // What the worker with most groups takes is less than a round above an even share.
                let groups = (units + size - 1) / size
                let busiest = (groups + workers - 1) / workers * size
                let rounds = (units + workers * most - 1) / (workers * most)
                #expect(busiest * workers < units + workers * rounds, "\(units) units, at most \(most), \(workers) workers")
            }
        }
        // 1,024 pixels in tiles of 6: 16 groups of 11 tiles, where 11 groups of 16 left one of two processors 7 and the other 4.
        #expect(DeviceEngine.groupSize(171, most: 16, workers: 8) == 11)
    }

    /// All rows, and no more than the 65,535 work-groups that a GPU may take in its second dimension, up to a batch of 512 images of
    /// ImageNet.
    @Test func rowsAreGroupedWithinAGPUsLimits() {
        for columns in [1, 3, 16, 58, 64, 232, 254, 257, 960, 2048] {
            for rows in [1, 63, 65_536, 802_816, 512 * 112 * 112] {
                let groups = DeviceEngine.rowGroups(columns: columns, rows: rows, profile: .gpu)
                #expect(groups.perItem * groups.count >= rows, "\(columns) x \(rows)")
                for most in [64, 256] {
                    let local = Kernel.workGroup(for: [columns, groups.count], most: most, onCPU: false) ?? [1, 1]
                    #expect(groups.count / local[1] <= 65_535 + local[1], "\(columns) x \(rows), at most \(most): \(local)")
                }
            }
        }
    }
}

/// The tiles of the gpu profile's convolutions.
@Suite("Sizes of tiles", .enabled(if: TestDevice.enabled, "no OpenCL device")) struct TileSizeTests {
    /// Output, input gradient and weight gradient of one convolution.
    private static func results(
        _ operation: OperationCase, _ precision: Precision, _ forced: TileChoices.Forced = .init(), halo: Bool = false
    ) throws -> [[Double]] {
        let network = operation.network
        let engine = try DeviceEngine(
            TestDevice.device(), profile: .gpu, registers: nil,
            tuning: halo ? nil : ChosenTuning(Tuning(tiles: ["halo": 0, "tf32_halo": 0]), source: "of a test"),
            precision: precision, emulatesMatrixUnits: true, forcedTiles: forced)
        let device = try DeviceNetwork(
            network, state: DeviceChecks.randomState(network), role: .student, engine: engine, inputGradient: true)
        let plan = try NetworkPlan(
            device.network, store: device.store, batch: operation.batch, mode: .training, inputGradient: true)
        try plan.write(DeviceChecks.random(operation.batch * network.nodes[0].size, stream: 1))
        try plan.forward()
        let output = try #require(plan.outputGradient)
        try engine.write(DeviceChecks.random(output.count, stream: 2), to: output)
        try plan.backward()
        return try [engine.read(plan.output), engine.read(#require(plan.gradientOfInput))]
            + network.parameters.map { try device.store.readGradient($0.name, count: $0.count) }
    }

    /// Every sum of plain tiles is added in one order: a device with more compute units, whose tiles are smaller, gives the same.
    @Test(arguments: Precision.allCases) func everySizeGivesTheSameBits(precision: Precision) throws {
        for operation in OperationCase.tiles {
            let expected = try Self.results(operation, precision)
            #expect(expected.allSatisfy { $0.contains { $0 != 0 } })
            for rows in TileSize.rowChoices {
                #expect(
                    try Self.results(operation, precision, .init(rows: rows)) == expected,
                    "tiles of \(16 * rows) pixels: \(operation.name)")
            }
            // Values of a batch of which a work-group's may lie 2^31 elements apart.
            #expect(try Self.results(operation, precision, .init(far: true)) == expected, "far: \(operation.name)")
        }
    }

    /// The same of tiles that are gathered with what surrounds them, whose sums are in an order of their own.
    @Test(arguments: Precision.allCases) func everySizeOfHaloGivesTheSameBits(precision: Precision) throws {
        // Other images than these are left to plain tiles by one of the sizes.
        let operations = OperationCase.halos.filter {
            ["2x16x12x16", "2x16x4x32", "2x16x8x16"].contains(where: $0.name.contains)
        }
        #expect(operations.count == 3)
        for operation in operations {
            let small = try Self.results(operation, precision, .init(rows: 4), halo: true)
            #expect(try Self.results(operation, precision, .init(rows: 8), halo: true) == small, "\(operation.name)")
            #expect(small.allSatisfy { $0.contains { $0 != 0 } })
        }
    }

    @Test func manyWorkGroupsMakeLargeTiles() throws {
        let device = try TestDevice.device()
        func rows(groups: Int, channels: Int, tuned: [String: Int] = [:]) -> Int {
            // As many of the smallest tiles as that.
            TileChoices(device, values: tuned).fitting(results: 32 * groups, channels: channels, phases: 1).rows
        }
        #expect(rows(groups: 1, channels: 64) == 2)
        #expect(rows(groups: 2 * device.computeUnits, channels: 64) == 4)
        #expect(rows(groups: 8 * device.computeUnits, channels: 64) == 8)
        #expect(rows(groups: 8 * device.computeUnits, channels: 16) == 4)
        #expect(rows(groups: device.computeUnits, channels: 128) == 4)
        // As tuned for tiles of so many channels.
        #expect(rows(groups: 8 * device.computeUnits, channels: 64, tuned: ["groups_64": 4]) == 4)
        #expect(rows(groups: 8 * device.computeUnits, channels: 64, tuned: ["groups_32": 4]) == 8)
        #expect(rows(groups: 1, channels: 64, tuned: ["groups_64": 0]) == 8)
        #expect(rows(groups: 8 * device.computeUnits, channels: 64, tuned: ["group_channels": 16]) == 4)
        #expect(TileChoices(device, values: ["groups_64": 3, "unknown": 1]) == TileChoices(device))
    }

    /// 3x3 convolutions at stride 1 gather pixels with what surrounds them where such tiles fit the images and the device.
    @Test func imagesThatTilesFitAreGatheredOnce() throws {
        let device = try TestDevice.device()
        func tile(_ size: [Int], batch: Int, _ product: TileProduct = .float32, _ tuned: [String: Int] = [:]) -> HaloTile? {
            TileChoices(device, product: product, values: tuned).halo(Extent(size), batch: batch)
        }
        let many = 8 * device.computeUnits
        for (plane, width) in [([32, 32], 8), ([8, 8], 8), ([4, 16], 16), ([2, 32], 32), ([28, 28], 32), ([56, 56], 8)] {
            let found = tile([16] + plane, batch: plane == [8, 8] ? device.computeUnits : many)
            #expect(found?.width == width, "\(plane): \(String(describing: found))")
        }
        #expect(tile([16, 32, 32], batch: many)?.size == TileSize(rows: 8, lanes: 1))
        #expect(tile([16, 8, 8], batch: device.computeUnits)?.size == TileSize(rows: 4, lanes: 1))
        // Half of a tile would lie beyond the image; units without work; left out by a tuning.
        #expect(tile([16, 4, 8], batch: many) == nil && tile([16, 8, 8], batch: device.computeUnits - 1) == nil)
        #expect(tile([16, 32, 32], batch: many, .float32, ["halo": 0]) == nil)
        #expect(tile([16, 32, 32], batch: many, .matrixUnits, ["halo": 0]) != nil)
        // Of weights that are packed for 128 channels half a block.
        #expect(tile([128, 32, 32], batch: many, .matrixUnits)?.size.lanes == 4)
    }

    /// In tf32 tiles of 128 channels, where they leave none of the last 64 empty; as tuned for this precision.
    @Test func wideTilesAreOfMatrixUnits() throws {
        let device = try TestDevice.device()
        func channels(_ count: Int, _ product: TileProduct, _ tuned: [String: Int] = [:]) -> Int {
            TileChoices(device, product: product, values: tuned).block(count)
        }
        for (count, narrow, wide) in [(16, 16, 16), (64, 64, 64), (65, 64, 128), (128, 64, 128), (192, 64, 64), (200, 64, 128)] {
            #expect(channels(count, .float32) == narrow && channels(count, .matrixUnits) == wide, "\(count) channels")
        }
        #expect(channels(256, .matrixUnits, ["group_channels": 32]) == 128)
        #expect(channels(256, .matrixUnits, ["tf32_group_channels": 32]) == 32)
        #expect(channels(256, .float32, ["tf32_group_channels": 32, "group_channels": 128]) == 64)
    }

    /// Weights are packed for the tiles that a tuning chose.
    @Test(arguments: [16, 32]) func fewerChannelsGiveTheSame(channels: Int) throws {
        let tuning = ChosenTuning(Tuning(tiles: ["group_channels": channels, "weight_groups": 2]), source: "of a test")
        for operation in OperationCase.tiles {
            let engine = try DeviceEngine(TestDevice.device(), profile: .gpu, guardElements: 16, tuning: tuning)
            let result = try DeviceChecks.check(operation, engine: engine)
            #expect(result.passed, "\(operation.name): \(result)")
        }
    }
}
