import Foundation
import TestSupport
import Testing

@Suite struct ValidateTests {
    @Test(
        "RLD_VALIDATE=1 lets a sound training pass and stops at the operation of a wrong kernel",
        .enabled(if: TestDevice.enabled, "no OpenCL device"))
    func wrongKernel() throws {
        let folder = TemporaryFolder()
        let data = try folder.images(train: 16, test: 4, extent: 8)
        func train(_ out: String, _ environment: [String: String]) throws -> Program.Result {
            try Program.run(
                [
                    "train", "--model", "resnet8", "--data", data, "--epochs", "1", "--set", "batch_size=8", "--out",
                    folder.path + "/" + out,
                ],
                environment: environment.merging(["RLD_VALIDATE": "1"]) { $1 })
        }
        let sound = try train("sound", [:])
        #expect(sound.code == 0, "\(sound.error)")
        #expect(sound.error.contains("validated"), "the run says that it is watched")

        // A copy of the kernels with one line changed.
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let kernels = folder.path + "/kernels"
        try FileManager.default.copyItem(atPath: root.appendingPathComponent("kernels").path, toPath: kernels)
        let file = kernels + "/pooling.cl"
        let text = try String(contentsOfFile: file, encoding: .utf8)
        let wrong = text.replacing("/ (float)plane", with: "/ (float)(plane + 1)")
        try #require(wrong != text)
        try wrong.write(toFile: file, atomically: true, encoding: .utf8)
        let stopped = try train("wrong", ["RLD_KERNEL_DIR": kernels])
        #expect(stopped.code == 1)
        #expect(
            stopped.error.contains("RLD_VALIDATE: step 1, student forward, node ")
                && stopped.error.contains("(global_average_pool)"), "\(stopped.error)")
    }
}
