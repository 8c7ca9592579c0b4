// swift-tools-version: 6.1
import PackageDescription

// One list of targets, lowest room first; imports run downward only (README, "How the code is laid out").
let package = Package(
    name: "rld",
    products: [
        .library(name: "RLD", targets: ["RLD"]),
        .executable(name: "rld", targets: ["RLDCommand"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/apple/swift-protobuf", exact: "1.39.0"),
    ],
    targets: [
        // System libraries.
        .systemLibrary(name: "COpenCL", pkgConfig: "OpenCL", providers: [.apt(["ocl-icd-opencl-dev", "opencl-headers"])]),
        .systemLibrary(name: "CCLBlast", pkgConfig: "clblast", providers: [.apt(["libclblast-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CTurboJPEG", pkgConfig: "libturbojpeg", providers: [.apt(["libturbojpeg0-dev"])]),
        .systemLibrary(name: "CPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),

        // Kernels: every .cl file becomes a string literal, includes resolved.
        .target(name: "KernelText", path: "Plugins/KernelText"),
        .executableTarget(name: "KernelEmbedder", dependencies: ["KernelText"], path: "Plugins/KernelEmbedder"),
        .plugin(name: "EmbedKernels", capability: .buildTool(), dependencies: ["KernelEmbedder"], path: "Plugins/EmbedKernels"),
        .target(name: "KernelSources", path: "kernels", plugins: ["EmbedKernels"]),

        // The commit, stamped into the binary.
        .plugin(name: "StampCommit", capability: .buildTool(), path: "Plugins/StampCommit"),
        .target(name: "RLDVersion", plugins: ["StampCommit"]),

        // The library, lowest room first.
        .target(name: "OpenCLRuntime", dependencies: ["COpenCL", "KernelText"]),
        .target(name: "RLDGraph"),
        .target(name: "RLDModels", dependencies: ["RLDGraph"]),
        .target(name: "RLDMethods", dependencies: ["RLDGraph"]),
        .target(name: "RLDReference", dependencies: ["RLDGraph", "RLDMethods"]),
        .target(
            name: "RLDExecution",
            dependencies: ["RLDGraph", "RLDMethods", "OpenCLRuntime", "KernelSources", "CCLBlast"]),
        .target(
            name: "RLDFormats",
            dependencies: ["RLDGraph", "CZlib", "CPNG", .product(name: "SwiftProtobuf", package: "swift-protobuf")],
            exclude: ["ONNX/onnx.proto"]),
        .target(name: "RLDDatasets", dependencies: ["RLDGraph", "RLDFormats", "CZlib", "CTurboJPEG", "CPNG"]),
        .target(
            name: "RLDReports",
            dependencies: ["RLDGraph", "RLDFormats", .product(name: "SwiftProtobuf", package: "swift-protobuf")],
            exclude: ["event.proto"]),
        .target(
            name: "RLDTraining",
            dependencies: [
                "RLDVersion", "OpenCLRuntime", "RLDGraph", "RLDModels", "RLDMethods", "RLDReference", "RLDExecution",
                "RLDDatasets", "RLDFormats", "RLDReports",
                .product(name: "Yams", package: "Yams"),
            ]),
        .target(
            name: "RLD",
            dependencies: [
                "RLDVersion", "OpenCLRuntime", "RLDGraph", "RLDModels", "RLDMethods", "RLDReference", "RLDExecution",
                "RLDDatasets", "RLDFormats", "RLDReports", "RLDTraining",
            ]),
        .target(
            name: "RLDBenchmarks", dependencies: ["RLD"], path: "benchmarks",
            exclude: ["results", "peers", "run", "gpu", "README.md"]),
        .executableTarget(
            name: "RLDCommand",
            dependencies: [
                "RLD", "RLDBenchmarks",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]),

        // Tests. Support holds the comparison helpers, which have tests of their own.
        .target(
            name: "TestSupport",
            dependencies: ["RLDGraph", "RLDMethods", "RLDModels", "RLDFormats", "OpenCLRuntime", "RLDExecution"],
            path: "Tests/TestSupport"),
        .testTarget(
            name: "OpenCLRuntimeTests", dependencies: ["OpenCLRuntime", "KernelSources", "KernelText", "CCLBlast", "TestSupport"]),
        .testTarget(name: "TestSupportTests", dependencies: ["RLDGraph", "RLDModels", "TestSupport"]),
        .testTarget(name: "RLDGraphTests", dependencies: ["RLDGraph", "RLDModels", "RLDReference", "TestSupport"]),
        .testTarget(
            name: "RLDReferenceTests", dependencies: ["RLDTraining", "RLDReference", "RLDModels", "RLDFormats", "TestSupport"]),
        .testTarget(
            name: "RLDExecutionTests",
            dependencies: [
                "RLDTraining", "RLDExecution", "RLDReference", "RLDModels", "RLDFormats", "KernelSources", "TestSupport",
            ]),
        .testTarget(
            name: "RLDFormatsTests", dependencies: ["RLDFormats", "RLDModels", "RLDDatasets", "CZlib", "TestSupport"]),
        .testTarget(name: "RLDTrainingTests", dependencies: ["RLD", "TestSupport"]),
        .testTarget(name: "RLDCommandTests", dependencies: ["RLD", "RLDBenchmarks", "TestSupport"]),
    ],
    swiftLanguageModes: [.v6]
)

// Tests call what is optimised; optimising them too would make their build two thirds longer.
for target in package.targets where target.type == .test { target.swiftSettings = [.unsafeFlags(["-Onone"])] }

// SwiftPM builds a module anew when one changed that it names, not when one behind that did. Code that is optimised across modules, and
// any that knows how large a value is, then writes where it must not: name them all.
extension Target {
    var named: [String] {
        dependencies.compactMap {
            switch $0 {
            case .targetItem(let name, _), .byNameItem(let name, _): name
            default: nil
            }
        }
    }
}
for target in package.targets where target.type != .plugin {  // lowest first: those below are complete already
    let below = package.targets.filter { target.named.contains($0.name) }.flatMap(\.named)
    let missing = Set(below).subtracting(target.named).subtracting([target.name])
    target.dependencies += missing.sorted().map { .byNameItem(name: $0, condition: nil) }
}
