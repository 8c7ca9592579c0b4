import Foundation
import OpenCLRuntime
import RLDExecution
import TestSupport
import Testing

@Suite struct TuningTests {
    private let tuning = Tuning(clblast: ["Xgemm": ["MWG": 32, "NWG": 8], "Copy": ["COPY_VW": 4]], tiles: ["forward_wide": 8])

    @Test func everyChoiceCounts() {
        #expect(tuning.text == "Copy COPY_VW=4; Xgemm MWG=32 NWG=8; tiles forward_wide=8")
        #expect(tuning.hash.count == 8 && tuning.hash == tuning.hash)
        var others = [Tuning(), tuning, tuning, tuning]
        others[1].clblast["Xgemm"]?["NWG"] = 16
        others[2].clblast["Copy"] = nil
        others[3].tiles["forward_wide"] = 12
        #expect(Set((others + [tuning]).map(\.hash)).count == 5)
    }

    @Test(
        "GPUs are told apart by vendor, NVIDIA's newest by compute capability",
        arguments: [
            ("NVIDIA Corporation", [9, 0], "gpu-nvidia-9"), ("NVIDIA Corporation", [12, 0], "gpu-nvidia-9"),
            ("NVIDIA Corporation", [8, 6], "gpu-nvidia"), ("Advanced Micro Devices, Inc.", [], "gpu-amd"),
            ("Intel(R) Corporation", [], "gpu-intel"), ("Mesa", [], "gpu-other"),
        ])
    func deviceClasses(vendor: String, capability: [Int], name: String) {
        #expect(ShippedTuning.gpuClass(vendor: vendor, computeCapability: capability) == name)
        #expect((ShippedTuning.products(name) != nil) == (name == "gpu-nvidia-9"))
        #expect(ShippedTuning.tiles(name) == (name == "gpu-nvidia-9" ? ["winograd_channels": 64] : [:]))
    }

    @Test func tilesThatNoKernelHasAreLeftOut() {
        let plain = RegisterTiles(.avx512)
        #expect(RegisterTiles(.avx512, rows: ["forward_wide": 7, "unknown": 8]) == plain)
        #expect(RegisterTiles(.avx512, rows: ["forward_wide": 12]) != plain)
        for use in RegisterTiles.Use.allCases { #expect(!use.rows.isEmpty) }
    }

    @Test(
        "a tuning is stored and found again; damaged files and other devices are not",
        .enabled(if: TestDevice.enabled, "no OpenCL device"))
    func store() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("rld-tuning-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let device = try TestDevice.device()
        #expect(TuningStore.stored(for: device, in: folder) == nil)
        var entry = TuningStore.Entry(
            device, clblast: "1", created: "2026-11-25T10:00:00Z", purpose: "a->b, batch 4", tuning: tuning)
        let file = try TuningStore.store(entry, for: device, in: folder)
        let found = try #require(TuningStore.stored(for: device, in: folder))
        #expect(found.source == "tuned 2026-11-25 for a->b, batch 4")
        #expect(found.tuning.tiles == tuning.tiles && found.tuning.clblast["Xgemm"] == tuning.clblast["Xgemm"])
        // What was not tuned stays as it is shipped.
        #expect(found.tuning.clblast["XgemmDirect"] == ShippedTuning.tuning(for: device).tuning.clblast["XgemmDirect"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 1, "no temporary file is left")

        entry.device = "another"
        try TuningStore.store(entry, for: device, in: folder)
        #expect(TuningStore.stored(for: device, in: folder) == nil)
        for text in ["", "{", "{\"version\": 1}", "[1, 2]"] {
            try text.write(to: file, atomically: true, encoding: .utf8)
            #expect(TuningStore.stored(for: device, in: folder) == nil)
        }
        (entry.device, entry.version) = (device.name, 99)
        try TuningStore.store(entry, for: device, in: folder)
        #expect(TuningStore.stored(for: device, in: folder) == nil)
    }

    @Test("an engine says what it is tuned to", .enabled(if: TestDevice.enabled, "no OpenCL device"))
    func engine() throws {
        let device = try TestDevice.device()
        let shipped = ShippedTuning.tuning(for: device)
        #expect(!shipped.source.isEmpty)
        if device.isCPU { #expect(shipped.tuning.clblast["Xgemm"] != nil && shipped.source.contains("cpu-")) }
        let own = ChosenTuning(Tuning(clblast: shipped.tuning.clblast, tiles: ["weights_wide": 4]), source: "of a test")
        let engine = try DeviceEngine(device, tuning: own)
        #expect(engine.tuning == own && engine.tuning.description.hasPrefix("of a test ("))
        let wrong = ChosenTuning(Tuning(clblast: ["Xgemm": ["NOPE": 1]]), source: "of a test")
        let error = #expect(throws: DeviceError.self) { try DeviceEngine(device, tuning: wrong) }
        #expect(error?.code == .blasFailed && error?.message.contains("NOPE") == true)
        // The refused ones left no trace.
        _ = try DeviceEngine(device, tuning: shipped)
    }
}
