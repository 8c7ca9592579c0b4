import Foundation
import PackagePlugin

/// Embeds the .cl files of a target's folder as one generated Swift file. Every .cl and .clh file is an input and an argument:
/// a changed, added or deleted file runs the embedder again.
@main
struct EmbedKernels: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: Target) throws -> [Command] {
        guard let module = target.sourceModule else { return [] }
        let files = module.sourceFiles.map(\.url)
            .filter { ["cl", "clh"].contains($0.pathExtension) }
            .sorted { $0.path < $1.path }
        let output = context.pluginWorkDirectoryURL.appendingPathComponent("EmbeddedKernels.swift")
        return [
            .buildCommand(
                displayName: "Embedding \(files.count) kernel files",
                executable: try context.tool(named: "KernelEmbedder").url,
                arguments: [output.path, module.directoryURL.path] + files.map(\.path),
                inputFiles: files,
                outputFiles: [output])
        ]
    }
}
