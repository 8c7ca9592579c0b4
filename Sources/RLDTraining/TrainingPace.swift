/// Images and seconds of the training loop, the first reading of a run left out when there are more.
struct TrainingPace {
    private var began: ContinuousClock.Instant?
    private var first: (images: Int, seconds: Double)?
    private var images = 0
    private var seconds = 0.0
    private(set) var lastImagesPerSecond = 0.0

    mutating func begin(at now: ContinuousClock.Instant) { if began == nil { began = now } }

    mutating func end(at now: ContinuousClock.Instant, images count: Int) {
        guard let start = began else { return }
        began = nil
        let elapsed = now.seconds(since: start)
        lastImagesPerSecond = elapsed > 0 ? Double(count) / elapsed : 0
        if first == nil {
            first = (count, elapsed)
        } else {
            images += count
            seconds += elapsed
        }
    }

    var imagesPerSecond: Double {
        if seconds > 0 { return Double(images) / seconds }
        guard let first, first.seconds > 0 else { return 0 }
        return Double(first.images) / first.seconds
    }
}

extension ContinuousClock.Instant {
    package func seconds(since earlier: Self) -> Double { earlier.duration(to: self) / .seconds(1) }
}
