import CZlib
import Foundation
import RLDDatasets
import RLDGraph
import TestSupport
import Testing

/// Pictures: decoded, held in memory or streamed, and looked at.
struct PictureTests {
    @Test("JPEG and PNG decode and scale as Pillow does: grey, palette, alpha and four-colour ones too")
    func decoding() throws {
        for (name, wanted) in try Pictures.expected() {
            let picture = try ImageDecoder.picture(path: Pictures.file(name))
            #expect([picture.width, picture.height] == wanted.size, "\(name)")
            let square = picture.centreSquare(12)
            let errors = zip(square, wanted.square12).map { abs(Int($0) - $1) }
            // Rounding in two places; four-colour JPEGs are converted by another formula.
            #expect(
                errors.max() ?? 255 <= (name == "ink.jpg" ? 3 : name.hasSuffix(".jpg") ? 2 : 1), "\(name) \(errors.max() ?? -1)")
        }
    }

    /// A PNG whose one row is stored as it is.
    private func png(depth: Int, colour: Int, width: Int, row: [UInt8], chunks: [UInt8] = []) -> [UInt8] {
        let size = little(width, 4).reversed() + little(1, 4).reversed()
        let body = [0] + row
        // zlib: no compression, one block.
        let sum = Int(adler32(1, body, UInt32(body.count)))
        let data = [0x78, 0x01, 1] + little(body.count, 2) + little(~body.count & 0xFFFF, 2) + body + little(sum, 4).reversed()
        return [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
            + chunk("IHDR", size + [UInt8(depth), UInt8(colour), 0, 0, 0]) + chunks + chunk("IDAT", data) + chunk("IEND", [])
    }

    private func chunk(_ name: String, _ data: [UInt8]) -> [UInt8] {
        let content = Array(name.utf8) + data
        return little(data.count, 4).reversed() + content + little(Int(crc32(0, content, UInt32(content.count))), 4).reversed()
    }

    @Test("a PNG's numbers are taken as they are stored, as Pillow does: of 16 bits the upper 8, and gamma is not applied")
    func storedNumbers() throws {
        func pixels(_ png: [UInt8]) throws -> [UInt8] { try ImageDecoder.picture(png, named: "x.png").pixels }
        let values = [0, 1, 0x00FF, 0x0100, 0x12FF, 0x7FFF, 0x8080, 0xFEFF, 0xFFFF]
        let wide = values.flatMap { [UInt8($0 >> 8), UInt8($0 & 255)] }
        let upper = values.map { UInt8($0 >> 8) }
        let gammas = [
            [], chunk("gAMA", little(100_000, 4).reversed()), chunk("gAMA", little(22_222, 4).reversed()), chunk("sRGB", [0]),
        ]
        for gamma in gammas {
            #expect(try pixels(png(depth: 16, colour: 2, width: 3, row: wide, chunks: gamma)) == upper)
            #expect(try pixels(png(depth: 16, colour: 0, width: 9, row: wide, chunks: gamma)) == upper.flatMap { [$0, $0, $0] })
            #expect(try pixels(png(depth: 8, colour: 2, width: 3, row: upper, chunks: gamma)) == upper)
            // Half transparent: alpha is dropped, nothing is mixed with it.
            let alpha = [wide[0..<6], [0x80, 0], wide[6..<12], [0, 0]].flatMap { $0 }
            #expect(try pixels(png(depth: 16, colour: 6, width: 2, row: alpha, chunks: gamma)) == Array(upper.prefix(6)))
        }
    }

    @Test("damaged pictures are named, whatever is cut off or changed")
    func damaged() throws {
        for name in ["wide.jpg", "tall.png"] {
            let bytes = try contents(of: Pictures.file(name))
            for length in stride(from: 0, to: bytes.count - 12, by: max(bytes.count / 23, 1)) {
                #expect(throws: InputError.self, "\(name) \(length)") {
                    try ImageDecoder.picture(Array(bytes.prefix(length)), named: name)
                }
            }
            for index in stride(from: 0, to: bytes.count, by: 7) {
                var changed = bytes
                changed[index] ^= 0x5A
                // May still decode, must not crash.
                _ = try? ImageDecoder.picture(changed, named: name)
            }
        }
        do {
            _ = try ImageDecoder.picture(Array("GIF89a".utf8), named: "x.gif")
            Issue.record("a GIF was taken")
        } catch { #expect("\(error)".contains("neither a JPEG nor a PNG")) }
    }

    @Test("a picture whose header promises more than is decoded is refused by its header")
    func enormous() throws {
        var bytes = try contents(of: Pictures.file("tall.png"))
        // The header's checksum covers its name and its thirteen bytes.
        func png(_ width: Int, _ height: Int) -> [UInt8] {
            bytes.replaceSubrange(16..<24, with: [width, height].flatMap { little($0, 4).reversed() })
            let sum = Int(crc32(0, Array(bytes[12..<29]), 17))
            bytes.replaceSubrange(29..<33, with: little(sum, 4).reversed())
            return bytes
        }
        expectRefusal("is 32768x32768 pixels") { _ = try ImageDecoder.picture(png(32768, 32768), named: "x.png") }
        expectRefusal("is 40000x1 pixels") { _ = try ImageDecoder.picture(png(40000, 1), named: "x.png") }
    }

    @Test("a damaged picture stops with its name, or is left out and counted")
    func broken() throws {
        let folder = TemporaryFolder()
        try Pictures.write(folder, ["train/", "val/"], broken: true)
        do {
            _ = try DatasetCatalog.load("folder:\(folder.path)", options: DatasetOptions(imageSize: 12))
            Issue.record("nothing was said")
        } catch {
            #expect("\(error)".contains("zz broken.jpg: is neither a JPEG nor a PNG"), "\(error)")
            #expect("\(error)".contains("--skip-broken"))
        }
        let set = try DatasetCatalog.load("folder:\(folder.path)", options: DatasetOptions(imageSize: 12, skipBroken: true))
        #expect(set.train.count == 6 && set.skipped.count == 1)

        let (inspection, dataset) = try DatasetInspection.inspect("folder:\(folder.path)", options: DatasetOptions(imageSize: 12))
        #expect(
            inspection.classes.map(\.train) == [3, 3]
                && inspection.broken.map(\.file).allSatisfy { $0.hasSuffix("zz broken.jpg") })
        #expect(inspection.sizes.contains { $0.width == 37 && $0.height == 24 && $0.images == 2 })
        try dataset.writeContactSheet(folder.file("sheet.png"))
        let sheet = try ImageDecoder.picture(path: folder.file("sheet.png"))
        #expect(sheet.width == 10 * 26 + 2 && sheet.height == 2 * 26 + 2)
        var sum = 0.0
        for image in 0..<6 { for i in 0..<144 { sum += Double(dataset.train.pixels[image * 432 + i]) } }
        #expect(abs(Double(inspection.mean[0]) - sum / 255 / 864) < 1e-6)
    }

    @Test("a streamed set is the set in memory: order, pixels, mean, hash, what is left out")
    func streamed() throws {
        let folder = TemporaryFolder()
        try Pictures.write(folder, ["train/", "test/"], broken: true)
        func load(_ streaming: Streaming, bytes: Int? = nil) throws -> Dataset {
            try DatasetCatalog.load(
                "folder:\(folder.path)",
                options: DatasetOptions(imageSize: 12, skipBroken: true, streaming: streaming, residentBytes: bytes))
        }
        let (held, streamed) = (try load(.off, bytes: 1), try load(.on))
        #expect(held.train.stream == nil && streamed.train.stream != nil && streamed.train.pixels.isEmpty)
        #expect(streamed.train.labels == held.train.labels && streamed.transform == held.transform)
        #expect(streamed.skipped == held.skipped && streamed.skipped.count == 1)
        #expect(streamed.contentHash == held.contentHash && streamed.train.contentHash == held.train.contentHash)
        for (a, b) in [(streamed.train, held.train), (streamed.test, held.test)] {
            for index in 0..<6 { #expect(try a.image(index) == b.image(index)) }
            let chosen = a.selecting([4, 1])
            #expect(try chosen.image(1) == b.image(1) && chosen.labels == [b.labels[4], b.labels[1]])
        }
        // Seven files, images of 432 bytes: held where they fit.
        #expect(try load(.auto, bytes: 3024).train.stream == nil && load(.auto, bytes: 3023).train.stream != nil)
        try streamed.writeContactSheet(folder.file("a.png"))
        try held.writeContactSheet(folder.file("b.png"))
        #expect(try contents(of: folder.file("a.png")) == contents(of: folder.file("b.png")))
    }

    @Test("what a pass over streamed files found is taken from the store while no file has changed, and never after one has")
    func surveys() throws {
        let (folder, store) = (TemporaryFolder(), TemporaryFolder())
        try Pictures.write(folder, ["train/", "test/"], broken: true)
        func load(skipBroken: Bool = true, settling: Double = 0) throws -> Dataset {
            var options = DatasetOptions(
                imageSize: 12, skipBroken: skipBroken, streaming: .on, surveyFolder: store.file("surveys"))
            options.surveySettling = settling
            return try DatasetCatalog.load("folder:\(folder.path)", options: options)
        }
        func files() -> [String] {
            ((try? FileManager.default.contentsOfDirectory(atPath: store.file("surveys"))) ?? []).map { "surveys/" + $0 }
        }
        func reused(_ set: Dataset) -> Bool { set.notes.contains { $0.contains("were not all read again") } }
        // Files that were written just now could change again without a sign.
        let first = try load(settling: 3600)
        #expect(!reused(first) && files().isEmpty)
        usleep(20_000)
        #expect(try !reused(load()) && files().count == 2)
        let again = try load()
        #expect(reused(again) && again.contentHash == first.contentHash && again.transform == first.transform)
        #expect(again.skipped == first.skipped && again.skipped.count == 1)
        for index in 0..<6 { #expect(try again.train.image(index) == first.train.image(index)) }
        expectRefusal("zz broken.jpg: is neither a JPEG nor a PNG; remove it or give --skip-broken") {
            _ = try load(skipBroken: false)
        }
        // It is really believed; but not when a few pictures read otherwise than they did, and not when it is damaged.
        let stored = try files().map { ($0, try contents(of: store.file($0))) }
        func write(_ change: (String) -> String) throws {
            for (name, bytes) in stored { try store.write(Array(change(String(decoding: bytes, as: UTF8.self)).utf8), name) }
        }
        try write { $0.replacingOccurrences(of: first.train.contentHash, with: "0123456789abcdef") }
        #expect(try load().train.contentHash == "0123456789abcdef")
        try write { $0.replacing(/"sample":"[0-9a-f]+"/, with: "\"sample\":\"0\"") }
        let repeated = try load()
        #expect(repeated.train == again.train && repeated.skipped == again.skipped && !reused(repeated))
        try write { String($0.dropLast(9)) }
        #expect(try !reused(load()) && load() == again)
        // Nor when its numbers are none of these pictures.
        for count in ["-1", "9223372036854775807", "1"] {
            try write { $0.replacing(/"histograms":\[\[[0-9]+/, with: "\"histograms\":[[\(count)") }
            #expect(try !reused(load()) && load() == again, "\(count)")
        }
        // Other contents of the same length at the same time.
        let path = folder.file("train/cat/tall.png")
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        let other = try contents(of: folder.file("train/dog/small.png"))
        try Data((other + [UInt8](repeating: 0, count: 1 << 12)).prefix(contents(of: path).count))
            .write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes(
            [.modificationDate: try #require(attributes[.modificationDate])], ofItemAtPath: path)
        usleep(20_000)
        let changed = try load()
        #expect(changed.train.contentHash != first.train.contentHash && changed.test.contentHash == first.test.contentHash)
        try FileManager.default.removeItem(atPath: folder.file("train/dog/zz broken.jpg"))
        #expect(try load(skipBroken: false).skipped.isEmpty)
    }

    @Test("the first so many of a stream that has no more is the stream itself")
    func prefixOfAll() throws {
        let folder = TemporaryFolder()
        try Pictures.write(folder, ["train/", "test/"])
        let set = try DatasetCatalog.load("folder:\(folder.path)", options: DatasetOptions(imageSize: 12, streaming: .on))
        #expect(set.train.prefix(6) == set.train && set.train.prefix(100).contentHash == set.train.contentHash)
        #expect(set.train.prefix(5) != set.train)
    }

    @Test("a sheet that cannot be written leaves what was there and says why")
    func contactSheet() throws {
        let folder = TemporaryFolder()
        try Pictures.write(folder, ["train/", "test/"])
        let set = try DatasetCatalog.load("folder:\(folder.path)", options: DatasetOptions(imageSize: 12))
        expectRefusal("missing/sheet.png: cannot be written: No such file or directory") {
            try set.writeContactSheet(folder.file("missing/sheet.png"))
        }
        try folder.write([1, 2], "old.png")
        let old = try SheetReader(folder.file("old.png"))
        try set.writeContactSheet(folder.file("old.png"))
        #expect(old.bytes() == [1, 2])
    }

    /// Keeps a file open while another takes its place.
    private final class SheetReader {
        private let handle: FileHandle
        init(_ path: String) throws { handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path)) }
        func bytes() -> [UInt8] { Array(handle.readDataToEndOfFile()) }
    }
}
