import Foundation

/// Numbers as a person reads them: short, with a unit, always with a decimal point.
public enum NumberText {
    private static let prefixes = ["", "k", "M", "G", "T", "P"]

    /// A count with a decimal prefix and three significant digits: 950 -> "950", 12_480_000 -> "12.5 M".
    /// - Parameter unit: appended to the prefix ("MAC" gives "1.2 GMAC"); empty for none.
    public static func compact(_ value: Double, unit: String = "") -> String {
        guard value.isFinite else { return unit.isEmpty ? "\(value)" : "\(value) \(unit)" }
        var scaled = value
        var prefix = 0
        while abs(scaled) >= 999.5, prefix < prefixes.count - 1 {
            scaled /= 1000
            prefix += 1
        }
        let number =
            prefix == 0 && scaled == scaled.rounded()
            ? String(Int(scaled)) : fixed(scaled, decimals: abs(scaled) < 99.95 ? 1 : 0)
        let tail = prefixes[prefix] + unit
        return tail.isEmpty ? number : "\(number) \(tail)"
    }

    public static func compact(_ value: Int, unit: String = "") -> String { compact(Double(value), unit: unit) }

    /// A fixed number of decimals: fixed(0.12345, decimals: 3) == "0.123".
    public static func fixed(_ value: Double, decimals: Int) -> String { String(format: "%.\(decimals)f", value) }

    /// A share of one as per cent with two decimals: 0.8731 -> "87.31 %".
    public static func percent(_ share: Double) -> String { fixed(100 * share, decimals: 2) + " %" }

    /// Bytes with a binary prefix: 47_040_016 -> "44.9 MiB".
    public static func bytes(_ count: Int) -> String {
        var scaled = Double(count)
        var prefix = 0
        let names = ["B", "KiB", "MiB", "GiB", "TiB"]
        while scaled >= 1024, prefix < names.count - 1 {
            scaled /= 1024
            prefix += 1
        }
        return prefix == 0 ? "\(count) B" : "\(fixed(scaled, decimals: 1)) \(names[prefix])"
    }

    /// Seconds: 3.14 -> "3.1 s", 75 -> "1:15", 3725 -> "1:02:05"; "?" for what is no time a person could wait.
    public static func duration(_ seconds: Double) -> String {
        guard seconds >= 0, seconds < 1e12 else { return "?" }
        if seconds < 59.95 { return fixed(seconds, decimals: 1) + " s" }
        let whole = Int(seconds.rounded())
        let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60)
        return hours > 0 ? String(format: "%d:%02d:%02d", hours, minutes, rest) : String(format: "%d:%02d", minutes, rest)
    }
}
