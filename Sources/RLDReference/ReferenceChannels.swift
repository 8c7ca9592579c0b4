import RLDGraph

/// Operations that move whole channels, NCHW.
enum ReferenceChannels {
    /// Copies `count` channels of every image between two values of equal planes.
    /// - Parameters:
    ///   - firstSource, firstTarget: first channel to read, to write. - targetChannels: of the result, the others 0.
    static func copy(
        _ x: [Double], batch: Int, plane: Int, sourceChannels: Int, firstSource: Int, count: Int, targetChannels: Int,
        firstTarget: Int, onto y: [Double]? = nil
    ) -> [Double] {
        var y = y ?? [Double](repeating: 0, count: batch * targetChannels * plane)
        for n in 0..<batch {
            let source = (n * sourceChannels + firstSource) * plane
            let target = (n * targetChannels + firstTarget) * plane
            for i in 0..<count * plane { y[target + i] = x[source + i] }
        }
        return y
    }

    /// Channel i * (C / groups) + j moves to j * groups + i.
    static func shuffle(_ x: [Double], groups: Int, batch: Int, extent: Extent) -> [Double] {
        var y = x
        let perGroup = extent.channels / groups
        for n in 0..<batch {
            for c in 0..<extent.channels {
                let moved = c % perGroup * groups + c / perGroup
                let (source, target) = ((n * extent.channels + c) * extent.plane, (n * extent.channels + moved) * extent.plane)
                for i in 0..<extent.plane { y[target + i] = x[source + i] }
            }
        }
        return y
    }
}
