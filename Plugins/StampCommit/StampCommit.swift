import Foundation
import PackagePlugin

/// Writes the commit that is being built into a Swift file, so that a copied binary still knows where it comes from: followed by `+` if
/// sources differ from it, and "unknown" outside git. A build command with the reflog and the sources as its inputs reruns when either
/// changes; the file is left alone if it would say the same, so that nothing is compiled for it.
@main struct StampCommit: BuildToolPlugin {
    /// Folders of what goes into the binary, from the package's root.
    private static let folders = ["Plugins", "Sources", "benchmarks", "kernels"]
    private static let suffixes = [".swift", ".cl", ".clh", ".h", ".modulemap"]

    func createBuildCommands(context: PluginContext, target: Target) throws -> [Command] {
        let output = context.pluginWorkDirectoryURL.appending(path: "Commit.swift")
        let root = context.package.directoryURL
        let reflog = gitFolder(of: root).appending(path: "logs/HEAD")
        let script = """
            root=$1 output=$2
            shift 2
            export GIT_OPTIONAL_LOCKS=0
            commit=$(git -C "$root" rev-parse --short=12 HEAD 2>/dev/null) || commit=unknown
            [ "$commit" = unknown ] || git -C "$root" diff --quiet HEAD -- "$@" || commit=$commit+
            text=$(printf 'enum Commit {\\n    static let id = "%s"\\n}' "$commit")
            [ "$(cat "$output" 2>/dev/null)" = "$text" ] || printf '%s\\n' "$text" > "$output"
            """
        return [
            .buildCommand(
                displayName: "Stamping the commit", executable: URL(fileURLWithPath: "/bin/sh"),
                arguments: ["-c", script, "sh", root.path, output.path] + Self.pathspecs,
                inputFiles: FileManager.default.fileExists(atPath: reflog.path) ? [reflog] + files(of: root) : [],
                outputFiles: [output])
        ]
    }

    /// Those files as git takes them, whose `*` goes over folders.
    private static let pathspecs = ["Package.swift"] + folders.flatMap { folder in suffixes.map { "\(folder)/*\($0)" } }

    private func files(of root: URL) -> [URL] {
        [root.appending(path: "Package.swift")]
            + Self.folders.flatMap { name -> [URL] in
                let folder = root.appending(path: name)
                let found = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
                return found.filter { file in Self.suffixes.contains { file.hasSuffix($0) } }
                    .sorted().map { folder.appending(path: $0) }
            }
    }

    /// `.git` is a folder, or in a linked worktree a file that names the folder.
    private func gitFolder(of root: URL) -> URL {
        let git = root.appending(path: ".git")
        guard let text = try? String(contentsOf: git, encoding: .utf8), text.hasPrefix("gitdir: ") else { return git }
        let path = text.dropFirst("gitdir: ".count).trimmingCharacters(in: .whitespacesAndNewlines)
        return URL(fileURLWithPath: path, relativeTo: root)
    }
}
