import Foundation
import RLDGraph

/// Reads the images of batches to come on a pool of threads, a bounded number of batches ahead of who takes them, and hands the
/// batches out in order. What it gives does not depend on the number of threads. Taken from by one task.
package final class BatchLoader {
    private let work: Work

    /// - Parameters:
    ///   - batches: rows of the table.
    ///   - ahead: batches that are held at most, beside the one that was taken last.
    ///   - threads: that read; one per processor if nil. A table in memory needs none.
    package init(_ table: ImageTable, batches: [[Int]], ahead: Int = 2, threads: Int? = nil) {
        let work = Work(table, batches: batches, ahead: max(ahead, 1))
        self.work = work
        guard table.stream != nil else { return }
        for index in 0..<max(threads ?? ProcessInfo.processInfo.activeProcessorCount, 1) {
            let thread = Thread { work.read() }
            thread.name = "rld images \(index)"
            thread.start()
        }
    }

    deinit { work.stop() }

    /// The pixels of the next batch, image by image; waits for them.
    /// - Throws: what reading its first image that cannot be read threw.
    package func next() throws -> [UInt8] { try work.next() }

    /// The most images that were held at any moment.
    package var mostImagesHeld: Int { work.mostImagesHeld }

    /// What the threads share; everything mutable is guarded by `condition`.
    private final class Work: @unchecked Sendable {
        private let table: ImageTable
        private let batches: [[Int]]
        private let ahead: Int
        private let condition = NSCondition()
        private var stopped = false
        /// The batch that is taken next.
        private var taken = 0
        /// The image that is read next: batch and place in it.
        private var job = (batch: 0, place: 0)
        /// Of batches that are being read: their images so far, and how many are missing.
        private var images: [Int: (images: [Result<[UInt8], any Error>?], missing: Int)] = [:]
        private var held = 0
        private var most = 0

        init(_ table: ImageTable, batches: [[Int]], ahead: Int) {
            self.table = table
            self.batches = batches
            self.ahead = ahead
        }

        var mostImagesHeld: Int { locked { most } }

        func stop() {
            locked {
                stopped = true
                condition.broadcast()
            }
        }

        /// A thread's life.
        func read() {
            while let job = nextJob() {
                let image = Result { try table.image(job.row) }
                locked {
                    images[job.batch]?.images[job.place] = image
                    images[job.batch]?.missing -= 1
                    held += 1
                    most = max(most, held)
                    if images[job.batch]?.missing == 0 { condition.broadcast() }
                }
            }
        }

        /// Waits until there is room; nil at the end.
        private func nextJob() -> (batch: Int, place: Int, row: Int)? {
            locked {
                while !stopped, job.batch < batches.count, job.batch >= taken + ahead { condition.wait() }
                guard !stopped, job.batch < batches.count else { return nil }
                let (batch, place) = job
                let rows = batches[batch]
                if images[batch] == nil { images[batch] = (Array(repeating: nil, count: rows.count), rows.count) }
                job = place + 1 < rows.count ? (batch, place + 1) : (batch + 1, 0)
                return (batch, place, rows[place])
            }
        }

        func next() throws -> [UInt8] {
            let index = locked { taken }
            guard index < batches.count else { throw InputError("batch \(index)", "is beyond the last") }
            var pixels: [UInt8] = []
            pixels.reserveCapacity(batches[index].count * table.imageSize)
            guard table.stream != nil else {
                for row in batches[index] { pixels += try table.image(row) }
                locked { taken += 1 }
                return pixels
            }
            let found = locked { () -> [Result<[UInt8], any Error>?] in
                while images[index]?.missing != 0 { condition.wait() }
                let found = images.removeValue(forKey: index)?.images ?? []
                held -= found.count
                taken += 1
                condition.broadcast()
                return found
            }
            for image in found { if let image { pixels += try image.get() } }
            return pixels
        }

        private func locked<Value>(_ body: () -> Value) -> Value {
            condition.lock()
            defer { condition.unlock() }
            return body()
        }
    }
}
