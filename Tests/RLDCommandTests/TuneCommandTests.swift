import Foundation
import OpenCLRuntime
import RLD
import RLDBenchmarks
import TestSupport
import Testing

@Suite struct TuneCommandTests {
    @Test(
        "a search keeps what is right and faster, and counts what is refused",
        .enabled(if: TestDevice.enabled, "no OpenCL device"))
    func search() throws {
        let device = try TestDevice.device()
        let shipped = ShippedTuning.tuning(for: device).tuning
        // 16 channels are one vector or two.
        let kind = RegisterClass(nativeFloatWidth: device.nativeFloatWidth)
        let use: RegisterTiles.Use = kind == .avx512 ? .narrow : .wide
        let step = try StepBenchmark(.whole, teacher: "resnet8", student: "resnet8", batch: 2, input: [3, 8, 8])
        var seen: [Tuner.Progress] = []
        let tuner = try Tuner(
            step, device: device, profile: .cpu, budget: 60, effort: .init(runs: 1, seconds: 0, longest: 0.1),
            candidates: { kernel in
                switch kernel {
                case "Xgemm": [["NOPE": 1]]
                case "GemmRoutine": [["XGEMM_MIN_INDIRECT_SIZE": 1], ["XGEMM_MIN_INDIRECT_SIZE": 2]]
                default: []
                }
            }, tiles: { name, _ in name == use.rawValue ? [RegisterTiles(kind).rows(use), 8] : [] }, progress: { seen.append($0) }
        )
        #expect(tuner.work.purpose == "resnet8->resnet8, batch 2")
        // The last layers, forward and both gradients; the teacher's is the same product as the student's.
        #expect(tuner.work.products.count == 3 && tuner.work.products.contains { $0.count == 2 })
        try tuner.run()
        #expect(Set(tuner.findings.map { $0.kernel }) == ["GemmRoutine", "Xgemm", use.rawValue])
        // What the device has anyway is not tried.
        #expect(tuner.findings.first { $0.kernel == use.rawValue }?.tried == 1)
        let refused = try #require(tuner.findings.first { $0.kernel == "Xgemm" })
        #expect(
            refused.refused == 1 && refused.choice == "as before" && tuner.tuning.clblast["Xgemm"] == shipped.clblast["Xgemm"])
        #expect(tuner.findings.allSatisfy { $0.wrong == 0 && $0.after <= $0.before })
        #expect(seen.last.map { $0.done + 1 == $0.total } == true)
    }

    @Test(
        "a search of the gpu kernels' tiles tries what changes a layer, and leaves what is right",
        .enabled(if: TestDevice.enabled, "no OpenCL device"))
    func groupTiles() throws {
        let device = try TestDevice.device()
        let step = try StepBenchmark(.whole, teacher: "resnet8", student: "resnet8", batch: 2, input: [3, 8, 8])
        let wanted: [TileChoices.Use: [Int]] = [
            .channels: [32, 64], .groups64: [16], .groups16: [0, 1], .weightGroups: [2], .winograd: [32, 128],
        ]
        let tuner = try Tuner(
            step, device: device, profile: .gpu, budget: 120, effort: .init(runs: 1, seconds: 0, longest: 0.1),
            candidates: { _ in [] },
            tiles: { name, values in
                TileChoices.Use(rawValue: name).flatMap { wanted[$0] }?.filter(values.contains) ?? []
            })
        #expect(!tuner.work.layers.isEmpty)
        try tuner.run()
        // What the device has anyway is not tried; nothing here is wrong or refused.
        let tried = Dictionary(uniqueKeysWithValues: tuner.findings.map { ($0.kernel, $0.tried) })
        #expect(tried["group_channels"] == 1 && tried["groups_16"] == 1 && tried["weight_groups"] == 1)
        #expect(tried["winograd_channels"] == 1)
        // With tiles of at most 32 channels no layer has one of 64.
        #expect((tried["groups_64"] == nil) == (tuner.tuning.tiles["group_channels"] == 32))
        #expect(tuner.findings.allSatisfy { $0.wrong == 0 && $0.refused == 0 && $0.after <= $0.before })
        #expect(Set(tuner.tuning.tiles.keys).isSubset(of: Set(tried.keys)))
    }

    @Test("all candidates keep to CLBlast's rules", arguments: KernelProfile.allCases)
    func candidates(profile: KernelProfile) {
        for kernel in ProductCandidates.kernels {
            let sets = ProductCandidates.candidates(kernel, profile: profile)
            #expect(!sets.isEmpty && sets.count <= 12 && Set(sets).count == sets.count, "\(kernel)")
            #expect(Set(sets.map { Set($0.keys) }).count == 1, "every candidate sets the same parameters")
        }
        let shipped = ["cpu-avx2", "cpu-avx512", "gpu-nvidia-9"].compactMap { ShippedTuning.products($0)?["Xgemm"] }
        #expect(shipped.count == 3)
        for p in ProductCandidates.candidates("Xgemm", profile: profile) + shipped {
            func value(_ name: String) -> Int { p[name] ?? 0 }
            #expect(value("MWG") % (value("MDIMC") * value("VWM")) == 0 && value("NWG") % (value("NDIMC") * value("VWN")) == 0)
            #expect(value("MWG") % (value("MDIMA") * value("VWM")) == 0 && value("NWG") % (value("NDIMB") * value("VWN")) == 0)
            let items = value("MDIMC") * value("NDIMC")
            #expect(value("KWG") % value("KWI") == 0)
            #expect(value("KWG") % max(1, items / value("MDIMA")) == 0 && value("KWG") % max(1, items / value("NDIMB")) == 0)
        }
    }

    @Test(
        "a stored tuning is used and shown; a damaged one is ignored with a warning",
        .enabled(if: TestDevice.enabled, "no OpenCL device"))
    func stored() throws {
        let device = try TestDevice.device()
        let folder = TemporaryFolder()
        let environment = ["XDG_CACHE_HOME": folder.path]
        let entry = TuningStore.Entry(
            device, clblast: "1", created: "2026-11-25T10:00:00Z", purpose: "a->b, batch 4",
            tuning: Tuning(tiles: ["forward_wide": 6]))
        let file = try TuningStore.store(
            entry, for: device, in: URL(fileURLWithPath: folder.path).appendingPathComponent("rld/tuning"))
        let tuned = try Program.run(["devices"], environment: environment)
        #expect(tuned.output.contains("tuned 2026-11-25 for a->b, batch 4") && tuned.output.contains("forward_wide=6"))
        let off = try Program.run(["devices"], environment: environment.merging(["RLD_TUNING": "off"]) { $1 })
        #expect(!off.output.contains("tuned 2026-11-25"))
        let named = try Program.run(["devices"], environment: ["XDG_CACHE_HOME": "/nowhere", "RLD_TUNING": file.path])
        #expect(named.output.contains("forward_wide=6"))
        try "{\"version\": 1, \"tun".write(to: file, atomically: true, encoding: .utf8)
        let damaged = try Program.run(["devices"], environment: environment)
        #expect(damaged.code == 0 && damaged.error.contains("is ignored") && damaged.error.contains(file.lastPathComponent))
        let unusable = try Program.run(["devices"], environment: ["RLD_TUNING": file.path])
        #expect(unusable.code == 2 && unusable.error.contains("RLD_TUNING"))
    }

    @Test(
        "tune names what it cannot use",
        arguments: [
            (["tune", "--budget", "0"], "--budget"), (["tune", "--batch", "0"], "batch 0"),
            (["tune", "--budget", "1e300"], "--budget"), (["tune", "--batch", "\(Int.max)"], "1...1048576"),
            (["tune", "--teacher", "resnet9"], "resnet8"),
            (["tune", "--profile", "tpu"], "tpu"),
        ])
    func badInput(arguments: [String], word: String) throws {
        let result = try Program.run(arguments)
        #expect(result.code == 2 && result.error.contains(word), "\(result.error)")
    }

    @Test func helpNamesEveryKernelOfAProduct() throws {
        let help = try Program.run(["tune", "--help"]).output
        for kernel in ProductCandidates.kernels { #expect(help.contains(kernel)) }
    }
}
