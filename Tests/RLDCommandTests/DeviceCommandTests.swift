import Foundation
import TestSupport
import Testing

/// The program on a device: it carries its kernels, checks them, and trains.
@Suite(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
struct DeviceCommandTests {
    /// One file, nothing beside it: `rld` holds its kernels.
    @Test("copied to an empty folder, the program finds its kernels")
    func relocation() throws {
        let folder = Folder()
        let copy = folder.path + "/anywhere"
        try FileManager.default.copyItem(atPath: Program.path, toPath: copy)
        let result = try Program.run(["doctor", "--tiny", "--profile", "cpu"], program: copy)
        #expect(result.code == 0, "\(result.error)")
        #expect(result.output.contains("checks passed"))
        #expect(folder.contents == ["anywhere"])
    }

    @Test("doctor checks both profiles and refuses an unknown one")
    func doctor() throws {
        let result = try Program.run(["doctor", "--tiny"])
        #expect(result.code == 0, "\(result.error)")
        for name in ["cpu", "gpu", "loss rld", "batch, crop and flip"] { #expect(result.output.contains(name)) }
        #expect(try Program.run(["doctor", "--profile", "gqu"]).code == 2)
    }

    @Test("train and distill on a device, evaluate gives the same accuracy")
    func training() throws {
        let folder = Folder()
        let data = try folder.images()
        func run(_ arguments: [String]) throws -> Program.Result {
            let result = try Program.run(arguments + ["--data", data, "--json"])
            #expect(result.code == 0, "\(result.error)")
            return result
        }
        let shared = ["--epochs", "2", "--batch-size", "16", "--validation", "8"]
        _ = try run(["train", "--model", "resnet14", "--out", folder.path + "/teacher"] + shared)
        let distilled = try run(
            ["distill", "--teacher", folder.path + "/teacher/best.safetensors", "--teacher-model", "resnet14", "--student", "resnet8",
             "--out", folder.path + "/student"] + shared)
        let evaluated = try run(["evaluate", "--model", "resnet8", "--weights", folder.path + "/student/last.safetensors"])
        func top1(_ text: String) throws -> Set<Double> {
            // Every number named top1 or accuracy, wherever it is nested.
            func find(_ value: Any) -> [Double] {
                switch value {
                case let object as [String: Any]:
                    object.flatMap { key, value in
                        ["top1", "accuracy"].contains(key) ? [(value as? Double) ?? -1] : find(value)
                    }
                case let list as [Any]: list.flatMap(find)
                default: []
                }
            }
            return Set(find(try JSONSerialization.jsonObject(with: Data(text.utf8))))
        }
        let found = try top1(evaluated.output)
        let reported = try top1(distilled.output)
        #expect(!found.isEmpty && found.isSubset(of: reported), "\(evaluated.output) \(distilled.output)")
    }
}
