import Foundation
import PackagePlugin

/// Writes the commit that is being built into a Swift file, so that a copied binary still knows where it comes from.
/// A build command with the reflog as its input reruns when the commit changes and only then; outside git it says "unknown".
@main struct StampCommit: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: Target) throws -> [Command] {
        let output = context.pluginWorkDirectoryURL.appending(path: "Commit.swift")
        let root = context.package.directoryURL
        let reflog = gitFolder(of: root).appending(path: "logs/HEAD")
        let script = """
            commit=$(git -C "$1" rev-parse --short=12 HEAD 2>/dev/null) || commit=unknown
            printf 'enum Commit {\\n    static let id = "%s"\\n}\\n' "$commit" > "$2"
            """
        return [
            .buildCommand(
                displayName: "Stamping the commit", executable: URL(fileURLWithPath: "/bin/sh"),
                arguments: ["-c", script, "sh", root.path, output.path],
                inputFiles: FileManager.default.fileExists(atPath: reflog.path) ? [reflog] : [],
                outputFiles: [output])
        ]
    }

    /// `.git` is a folder, or in a linked worktree a file that names the folder.
    private func gitFolder(of root: URL) -> URL {
        let git = root.appending(path: ".git")
        guard let text = try? String(contentsOf: git, encoding: .utf8), text.hasPrefix("gitdir: ") else { return git }
        let path = text.dropFirst("gitdir: ".count).trimmingCharacters(in: .whitespacesAndNewlines)
        return URL(fileURLWithPath: path, relativeTo: root)
    }
}
