import Foundation
import RLD
import TestSupport
import Testing

/// `rld loss` end to end: every method on the golden files, through the options of the command line.
struct LossCommandTests {
    /// The command line that stands for a method's values.
    static func arguments(_ method: Method) -> [String] {
        ["--method", method.id]
            + method.options.filter { $0 != .warmUp }.flatMap { option -> [String] in
                let value = method.value(of: option) ?? 0
                return option.kind == .flag ? (value != 0 ? ["--\(option.name)"] : []) : ["--\(option.name)", "\(value)"]
            }
    }

    struct Answer {
        var total: Double
        var terms: [String: Double]
        var gradient: Tensor
        var object: [String: Any]
    }

    static func number(_ value: Any?) -> Double {
        (value as? Double) ?? (value as? String).flatMap { Double($0) } ?? .nan
    }

    static func run(
        _ file: String, _ arguments: [String], device: String?, environment: [String: String] = [:], code: Int32 = 0
    ) throws -> Answer {
        let folder = TemporaryFolder()
        let gradient = folder.path + "/gradient.safetensors"
        let result = try Program.run(
            ["loss", file, "--gradient", gradient, "--json"] + arguments + (device.map { ["--device", $0] } ?? []),
            environment: environment)
        #expect(result.code == code, "\(arguments): \(result.error)")
        let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any] ?? [:]
        let terms = (object["terms"] as? [String: Any] ?? [:]).mapValues { number($0) }
        return Answer(
            total: number(object["total"]), terms: terms,
            gradient: try SafetensorsFile(path: gradient).tensor("student_gradient"), object: object)
    }

    static func compare(_ found: Answer, _ wanted: LossCase, loose: Bool) {
        let id = wanted.golden.id
        let scale = loose ? 2e-5 : 1e-10
        expectClose([found.total], [wanted.total], .relative(scale, absolute: loose ? 1e-6 : 1e-12), "\(id): total")
        for (name, value) in zip(wanted.method.termNames, wanted.terms) {
            expectClose(
                [found.terms[name] ?? .nan], [value], .relative(scale, absolute: loose ? 1e-6 : 1e-12), "\(id): \(name)")
        }
        expectClose(
            found.gradient.values, wanted.gradient, foundShape: found.gradient.shape,
            expectedShape: [wanted.labels.count, wanted.classes], .ofMax(loose ? 5e-6 : 1e-8), "\(id): gradient")
    }

    static let golden = LossCase.all.filter { ["b8c10_mixed", "b8c10_minus_inf", "b5c2_mixed"].contains($0.set) }

    @Test("the file of the logits is not replaced by what is computed from it; a single array is no set of logits")
    func ownFile() throws {
        let folder = TemporaryFolder()
        let file = folder.path + "/logits.safetensors"
        try FileManager.default.copyItem(atPath: Goldens.path("losses/b8c10_mixed.safetensors"), toPath: file)
        let before = try Data(contentsOf: URL(fileURLWithPath: file))
        try FileManager.default.createSymbolicLink(atPath: folder.path + "/link", withDestinationPath: folder.path)
        for option in ["--gradient", "--audit"] {
            let result = try Program.run(
                ["loss", file, "--method", "rld", option, folder.path + "/link/logits.safetensors", "--device", "reference"])
            #expect(result.code == 2 && result.error.contains("\(option): is the file of the logits"), "\(result.error)")
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == before)
        let array = folder.path + "/student.npy"
        try TensorFile.write(
            [StoredTensor("student", Tensor(shape: [2, 3], repeating: 0), as: .float32, source: array)], to: array)
        let result = try Program.run(["loss", array, "--method", "ce", "--device", "reference"])
        #expect(result.code == 2 && result.error.contains("is a single array, and a loss needs several"), "\(result.error)")
    }

    @Test("every method and option on the reference, against the authors' numbers")
    func reference() throws {
        for golden in Self.golden {
            let wanted = try LossCase(golden)
            let file = Goldens.path("losses/\(golden.set).safetensors")
            let found = try Self.run(file, Self.arguments(wanted.method), device: "reference")
            Self.compare(found, wanted, loose: false)
        }
        #expect(Set(Self.golden.map(\.method)).count == 8)
    }

    @Test(
        "every method on a device, both kernel profiles, against the authors' numbers",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"), arguments: TestDevice.profiles)
    func device(_ profile: KernelProfile) throws {
        // One case of each method, and two with standardisation.
        var seen: Set<String> = []
        for golden in LossCase.all where golden.set == "b8c10_mixed" {
            let wanted = try LossCase(golden)
            guard !wanted.isStandardized || ["RLD", "KD"].contains(golden.method) else { continue }
            guard seen.insert("\(golden.method) \(wanted.isStandardized)").inserted else { continue }
            let file = Goldens.path("losses/\(golden.set).safetensors")
            let found = try Self.run(
                file, Self.arguments(wanted.method), device: nil, environment: ["RLD_PROFILE": profile.rawValue])
            Self.compare(found, wanted, loose: true)
        }
        #expect(seen.count == 8 + 2)
    }

    // MARK: Own files

    /// 4 x 5 logits of any type, int32 labels, weights, and a tensor that nobody asked for.
    struct Stored {
        var student: [Double] = (0..<20).map { Double(Float16(sin(Double($0) * 1.7) * 5)) }
        var teacher: [Double] = (0..<20).map { Double(Float16(cos(Double($0) * 2.3) * 6)) }
        var labels: [Int32] = [0, 3, 2, 4]
        var weights: [Double] = [1, 0, 2.5, 0.5]
        var shape = [4, 5]

        /// Types as safetensors spell them; labels are int32, which the library reads and does not write.
        func write(_ path: String, _ type: String = "F32", labelType: String = "I64") throws {
            func bytes(_ values: [Double], _ type: String) -> [UInt8] {
                func little<T: FixedWidthInteger>(_ x: T) -> [UInt8] { withUnsafeBytes(of: x.littleEndian) { Array($0) } }
                return values.flatMap { value -> [UInt8] in
                    switch type {
                    case "F64": little(value.bitPattern)
                    case "F16": little(Float16(value).bitPattern)
                    case "BF16": little(UInt16(Float(value).bitPattern >> 16))
                    case "I64": little(Int64(value))
                    case "I32": little(Int32(value))
                    default: little(Float(value).bitPattern)
                    }
                }
            }
            var header: [String] = []
            var body: [UInt8] = []
            for (name, values, shape, type) in [
                ("student", student, shape, type), ("teacher", teacher, shape, type),
                ("labels", labels.map(Double.init), [labels.count], labelType), ("importance", weights, [weights.count], "F32"),
                ("other", [1, 2, 3], [3], "F64"),
            ] {
                let start = body.count
                body += bytes(values, type)
                header.append(
                    "\"\(name)\":{\"dtype\":\"\(type)\",\"shape\":\(shape),\"data_offsets\":[\(start),\(body.count)]}")
            }
            let text = Array("{\(header.joined(separator: ","))}".utf8)
            try Data((0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) } + text + body).write(
                to: URL(fileURLWithPath: path))
        }
    }

    @Test("float64, float32, float16 and bfloat16 logits, int64 and int32 labels")
    func types() throws {
        let folder = TemporaryFolder()
        let file = folder.path + "/x.safetensors"
        var stored = Stored()
        // Values that bfloat16 holds exactly, so that every type holds the same.
        stored.student = stored.student.map { ($0 * 8).rounded() / 8 }
        stored.teacher = stored.teacher.map { ($0 * 8).rounded() / 8 }
        var totals: Set<Double> = []
        for type in ["F64", "F32", "F16", "BF16"] {
            for labelType in ["I64", "I32"] {
                try stored.write(file, type, labelType: labelType)
                totals.insert(try Self.run(file, ["--method", "rld"], device: "reference").total)
            }
        }
        #expect(totals.count == 1)
    }

    /// Logits with an ignored row, and what `rld loss` and the library say of them under settings of every kind.
    private func withSettings(device: String?) throws -> (found: Answer, wanted: LossResult) {
        let folder = TemporaryFolder()
        let file = folder.path + "/x.safetensors"
        var stored = Stored()
        stored.labels[3] = -7
        try stored.write(file)
        let arguments = [
            "--method", "rld", "--row-weights", "importance", "--ignore-label", "-7", "--warm-up-factor", "0.25", "--scale", "-3",
        ]
        let wanted = try ReferenceLoss.evaluate(
            .refinedLogitDistillation(RefinedLogitDistillation()), student: stored.student, teacher: stored.teacher,
            labels: stored.labels, classes: 5, warmup: 0.25, scale: -3, ignoring: -7, rowWeights: stored.weights)
        return (try Self.run(file, arguments, device: device), wanted)
    }

    @Test("row weights, ignored label, warm-up factor and scale mean what the library means by them")
    func settings() throws {
        let (found, wanted) = try withSettings(device: "reference")
        #expect(abs(found.total - wanted.total) <= 1e-14 * wanted.total)
        #expect(found.gradient.values == wanted.gradient)
        #expect(found.object["ignored_rows"] as? Int == 1 && found.object["rows"] as? Int == 3)
        #expect((found.object["options"] as? [String: Double])?["confidence_temperature"] == 1)
    }

    @Test(
        "row weights, ignored label, warm-up factor and scale mean the same on a device",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func settingsOnADevice() throws {
        let (found, wanted) = try withSettings(device: nil)
        expectClose([found.total], [wanted.total], .relative(1e-5), "total")
        expectClose(found.gradient.values, wanted.gradient, .rowOperation, "gradient")
    }

    @Test("audit rows as a table, as lines of JSON and in the JSON output")
    func audit() throws {
        let folder = TemporaryFolder()
        let file = folder.path + "/x.safetensors"
        var stored = Stored()
        stored.labels[1] = -100
        try stored.write(file)
        let csv = folder.path + "/rows.csv"
        let lines = folder.path + "/rows.jsonl"
        try folder.write("old", "elsewhere.jsonl")
        try FileManager.default.createSymbolicLink(atPath: lines, withDestinationPath: "elsewhere.jsonl")
        let found = try Self.run(file, ["--method", "rld", "--audit", csv], device: "reference")
        _ = try Self.run(file, ["--method", "rld", "--audit", lines], device: "reference")
        let table = try String(contentsOfFile: csv, encoding: .utf8).split(separator: "\n").map {
            $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        }
        #expect(table.count == 5 && table.allSatisfy { $0.count == 12 })
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: lines) == "elsewhere.jsonl", "a link stays one")
        let objects = try String(contentsOfFile: lines, encoding: .utf8).split(separator: "\n").map {
            try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] ?? [:]
        }
        #expect(objects.count == 4)
        let first = stored.teacher[..<5]
        let best = first.indices.max { first[$0] < first[$1] } ?? 0
        for (row, object) in objects.enumerated() {
            #expect(object["row"] as? Int == row && object["label"] as? Int == Int(stored.labels[row]))
            let cells = Dictionary(uniqueKeysWithValues: zip(table[0], table[row + 1]))
            for (key, value) in object {
                let text = value is NSNull ? "" : "\(value)"
                #expect(Double(cells[key] ?? "") == Double(text), "\(key)")
            }
        }
        #expect(objects[0]["teacher_top"] as? Int == best)
        #expect(objects[0]["label_rank"] as? Int == 1 + first.count { $0 > first[0] })
        #expect(objects[0]["masked_classes"] as? Int == first.count { $0 >= first[0] })
        #expect(objects[1]["teacher_top"] is NSNull && objects[1]["term_ce"] as? Double == 0)
        let ce = objects.compactMap { $0["term_ce"] as? Double }.reduce(0, +) / 3
        #expect(abs(ce - (found.terms["ce"] ?? .nan)) < 1e-12)
        #expect((found.object["audit"] as? [[String: Any]])?.count == 4)
        let wrong = try Program.run(["loss", file, "--method", "rld", "--audit", "rows.txt", "--device", "reference"])
        #expect(wrong.code == 2 && wrong.error.contains(".csv or .jsonl"))
    }

    @Test(
        "audit rows of a device are those of the reference, for every method",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func auditOnADevice() throws {
        let folder = TemporaryFolder()
        let file = folder.path + "/x.safetensors"
        var stored = Stored()
        stored.labels[1] = -100
        try stored.write(file)
        for method in Method.ids {
            func rows(_ device: String?) throws -> [[String: Any]] {
                let answer = try Self.run(
                    file, ["--method", method, "--audit", folder.path + "/rows.csv"], device: device)
                return answer.object["audit"] as? [[String: Any]] ?? []
            }
            let (found, wanted) = (try rows(nil), try rows("reference"))
            #expect(found.count == 4 && wanted.count == 4)
            for (a, b) in zip(found, wanted) {
                #expect(a.keys.sorted() == b.keys.sorted(), "\(method)")
                for (key, value) in b {
                    let (x, y) = key == "terms" ? (a[key], value) : ([a[key] ?? 0], [value])
                    expectClose(
                        (x as? [Any] ?? []).map(Self.number), (y as? [Any] ?? []).map(Self.number),
                        .relative(2e-5, absolute: 2e-6), "\(method): \(key)")
                }
            }
        }
    }

    @Test(
        "a loss beyond float32 is not blamed on an excluded class",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func beyondFloat32() throws {
        let folder = TemporaryFolder()
        let file = folder.path + "/x.safetensors"
        var stored = Stored()
        stored.student[2] = 1e30
        try stored.write(file)
        let arguments = ["loss", file, "--method", "ce", "--ce-weight", "1e9"]
        let found = try Program.run(arguments)
        #expect(found.code == 1 && found.error.contains("more than float32 holds") && !found.error.contains("-inf"), "\(found)")
        #expect(try Program.run(arguments + ["--device", "reference"]).code == 0)
        let hot = ["loss", file, "--method", "kd", "--temperature", "2e3"]
        let refused = try Program.run(hot)
        #expect(refused.code == 2 && refused.error.contains("from 1e-3 to 1e3 on a device"), "\(refused)")
        #expect(try Program.run(hot + ["--device", "reference"]).code == 0)
    }

    @Test("a loss that is infinite is printed, written and said in the exit code")
    func infinite() throws {
        let folder = TemporaryFolder()
        let file = folder.path + "/x.safetensors"
        var stored = Stored()
        stored.student[5 + Int(stored.labels[1])] = -.infinity
        try stored.write(file)
        for device in ["reference"] + (TestDevice.enabled ? [nil] : []) {
            let found = try Self.run(file, ["--method", "kd"], device: device, code: 1)
            #expect(found.total == .infinity && found.terms["ce"] == .infinity)
            #expect(found.gradient.values.allSatisfy { $0.isFinite })
        }
    }

    @Test(
        "what is wrong with a file is said in one line",
        arguments: [
            ("labels", "row 2 is 9, expected 0..<5"), ("nan", "teacher logits, row 1: class 2 is nan"),
            ("inf", "student logits, row 3: class 0 is inf"), ("empty", "student logits, row 0: every class is excluded"),
            ("missing", "has no tensor 'importanc'; did you mean 'importance'?"),
            ("weights", "row 1: must be finite and at least 0"),
            ("shape", "tensor 'labels': expected shape [4]"), ("ignored", "--ignore-label gives another label"),
        ])
    func errors(_ kind: String, _ text: String) throws {
        let folder = TemporaryFolder()
        let file = folder.path + "/x.safetensors"
        var stored = Stored()
        var arguments = ["--method", "rld"]
        switch kind {
        case "labels": stored.labels[2] = 9
        case "nan": stored.teacher[7] = .nan
        case "inf": stored.student[15] = .infinity
        case "empty": for i in 0..<5 { stored.student[i] = -.infinity }
        case "missing": arguments += ["--row-weights", "importanc"]
        case "weights":
            stored.weights[1] = -1
            arguments += ["--row-weights", "importance"]
        case "shape": stored.labels.removeLast()
        default: stored.labels[0] = -1
        }
        try stored.write(file)
        let result = try Program.run(["loss", file, "--device", "reference"] + arguments)
        #expect(result.code == 2 && result.errorLines.count == 1 && result.output.isEmpty, "\(result)")
        #expect(result.error.contains(text), "\(result.error)")
    }

    @Test("options that do nothing are said")
    func idleOptions() throws {
        let folder = TemporaryFolder()
        let file = folder.path + "/x.safetensors"
        try Stored().write(file)
        let result = try Program.run([
            "loss", file, "--method", "mlkd", "--device", "reference", "--warm-up-factor", "0.5", "--scale", "2", "--beta", "3",
            "--warm-up", "4",
        ])
        #expect(result.code == 0)
        for name in ["--warm-up-factor", "--scale", "--beta", "--warm-up does"] {
            #expect(result.error.contains(name), "\(name)")
        }
        #expect(result.output.contains("mlkd: ce-weight 0.1"))
    }
}
