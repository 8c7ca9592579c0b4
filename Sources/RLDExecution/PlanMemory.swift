import OpenCLRuntime

/// Device memory shared by plans that never run at once: those of teacher and student, of training and evaluation, of every batch
/// size. What a plan left there is gone once another has run.
package final class PlanMemory {
    private let engine: DeviceEngine
    private var arenas: [Buffer] = []
    /// Elements that plans to come have announced, by arena.
    private var announced: [Int] = []

    /// What makes room where a plan does not fit, beside a smaller batch; "" for nothing.
    let advice: String

    package init(_ engine: DeviceEngine, advice: String = "") { (self.engine, self.advice) = (engine, advice) }

    /// Announces a plan, so that the memory is made at its final size: plans that exist keep the memory that they were made with.
    func announce(_ counts: [Int]) { announced = Self.maximum(announced, counts) }

    /// Forgets what was announced.
    func forgetAnnounced() { announced = [] }

    /// Bytes that `arenas` would allocate.
    func missingBytes(_ counts: [Int]) -> Int {
        counts.indices.reduce(0) { $0 + (fits(counts[$1], $1) ? 0 : 4 * size(counts, $1)) }
    }

    /// One buffer per arena of a plan, at least as large as asked for.
    func arenas(_ counts: [Int]) throws(DeviceError) -> [Buffer] {
        for index in counts.indices where !fits(counts[index], index) {
            let buffer = try engine.makeBuffer(size(counts, index), label: "activations")
            if index < arenas.count { arenas[index] = buffer } else { arenas.append(buffer) }
        }
        return Array(arenas[..<counts.count])
    }

    private func fits(_ count: Int, _ index: Int) -> Bool { index < arenas.count && arenas[index].bytes >= 4 * count }

    private func size(_ counts: [Int], _ index: Int) -> Int { max(counts[index], index < announced.count ? announced[index] : 0) }

    private static func maximum(_ a: [Int], _ b: [Int]) -> [Int] {
        (0..<max(a.count, b.count)).map { max($0 < a.count ? a[$0] : 0, $0 < b.count ? b[$0] : 0) }
    }
}
