import Foundation

/// What this binary was built from and what it runs on.
public enum BuildVersion {
    /// First twelve digits of the git commit, or "unknown" for a build outside git.
    @inline(never) public static var commit: String { Commit.id }

    /// The Swift compiler's version.
    public static var swift: String {
        #if compiler(>=6.5)
        "6.5 or later"
        #elseif compiler(>=6.4)
        "6.4"
        #elseif compiler(>=6.3)
        "6.3"
        #elseif compiler(>=6.2)
        "6.2"
        #else
        "6.1"
        #endif
    }

    /// The CLBlast that is loaded ("1.5.3"); "unknown" if its file name does not say.
    public static var clblast: String { loadedVersion(of: "libclblast") }

    /// The OpenCL loader that is linked ("1.0.0" for ocl-icd); "unknown" if its file name does not say.
    public static var openCLLoader: String { loadedVersion(of: "libOpenCL") }

    /// The digits after ".so." in the name of a library that this process has loaded.
    private static func loadedVersion(of library: String) -> String {
        // Read to the end: the file says that it has no bytes.
        let handle = FileHandle(forReadingAtPath: "/proc/self/maps")
        let maps = String(decoding: (try? handle?.readToEnd()) ?? Data(), as: UTF8.self)
        for line in maps.split(separator: "\n") where line.contains("/\(library).so.") {
            if let range = line.range(of: ".so.") { return String(line[range.upperBound...]) }
        }
        return "unknown"
    }
}
