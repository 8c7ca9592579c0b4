import Foundation
import RLD
import Testing

struct ReportsTests {
    @Test(
        "numbers are short and have a unit",
        arguments: [
            (950.0, "", "950"), (0.0, "", "0"), (12_480_000.0, "", "12.5 M"), (1_234_000_000.0, "MAC", "1.2 GMAC"),
            (999_949.0, "", "1.0 M"), (123_456.0, "", "123 k"), (2.5, "", "2.5"),
        ])
    func compact(value: Double, unit: String, text: String) {
        #expect(NumberText.compact(value, unit: unit) == text)
    }

    @Test("durations, bytes and shares")
    func others() {
        #expect(NumberText.duration(3.14) == "3.1 s")
        #expect(NumberText.duration(75) == "1:15")
        #expect(NumberText.duration(3725) == "1:02:05")
        #expect(NumberText.bytes(47_040_016) == "44.9 MiB")
        #expect(NumberText.percent(0.87314) == "87.31 %")
    }

    @Test("columns line up, numbers to the right, nothing is cut")
    func table() {
        let text = TextTable.text(
            [.init("network"), .init("top-1", alignment: .right)], rows: [["resnet8", "8.5"], ["a", "10.25"], ["b"]])
        #expect(text == "network  top-1\n-------  -----\nresnet8    8.5\na        10.25\nb")
        let fixed = TextTable([.init("a", width: 3), .init("b", width: 4, alignment: .right)])
        #expect(fixed.row(["long one", "1"]) == "long one     1")
    }

    @Test("progress: redrawn on a terminal, plain lines otherwise, nothing when quiet")
    func progress() {
        let state = ProgressState(
            epoch: 1, epochs: 2, step: 5, steps: 10, loss: 1.25, accuracy: 0.5, imagesPerSecond: 1234, secondsLeft: 65)
        func show(_ mode: ProgressLine.Mode) -> String {
            var text = ""
            let line = ProgressLine(mode: mode) { text += $0 }
            line.show(state)
            line.note("done")
            return text
        }
        #expect(show(.quiet).isEmpty)
        #expect(show(.plain) == state.text + "\ndone\n")
        let terminal = show(.terminal(columns: 120))
        #expect(terminal.hasPrefix("\r[=======>") && terminal.hasSuffix("\rdone\n"))
        #expect(show(.terminal(columns: 20)).hasPrefix("\repoch 1/2"))
        #expect(state.text == "epoch 1/2 step 5/10  loss 1.2500  accuracy 50.00 %  1.2 k images/s  left 1:05")
        #expect(state.bar(width: 8) == "[==>     ]")
    }

    @Test("numbers that no run should give do not end it")
    func extremes() {
        #expect(NumberText.duration(1e19) == "?" && NumberText.duration(Double.infinity) == "?" && NumberText.duration(-1) == "?")
        #expect(NumberText.duration(3600 * 24 * 365) == "8760:00:00")
        var text = ""
        let line = ProgressLine(mode: .terminal(columns: 60)) { text += $0 }
        for share in [Double.nan, -Double.infinity, 7] { line.show("x", share: share) }
        #expect(text.contains("[=="))
        let state = ProgressState(
            epoch: 1, epochs: 2, step: 1, steps: 2, loss: .nan, accuracy: .nan, imagesPerSecond: .nan, secondsLeft: 1e300)
        #expect(state.text.contains("left ?"))
        for (low, high) in [(0, Double.leastNonzeroMagnitude), (-1e308, 1e308), (1e300, 1e300), (1, 1.0.nextUp), (0, 0)] {
            let ticks = CurvePage.ticks(low, high)
            #expect((2...20).contains(ticks.count) && ticks.allSatisfy(\.isFinite), "\(low) \(high): \(ticks.prefix(3))")
        }
        let curve = Curve("a", [(x: 1e15, y: 1)], colour: 0)
        #expect(!CurvePage.html(title: "t", table: [], figures: [Figure("f", xLabel: "x", curves: [curve])]).contains("\"nan"))
    }

    @Test("bars stand on the bottom, as high as their share")
    func bars() throws {
        let image = BarImage([1, 0.5, 0], height: 40)
        let picture = try ImageDecoder.picture(Array(image.png), named: "bars")
        #expect(picture.width == image.width && image.width == 3 * 24 + 2 && picture.height == 40)
        func pixel(_ x: Int, _ y: Int) -> [UInt8] {
            Array(picture.pixels[(y * picture.width + x) * 3..<(y * picture.width + x) * 3 + 3])
        }
        let (bar, paper, line) = ([38, 110, 173], [255, 255, 255], [205, 205, 205]) as ([UInt8], [UInt8], [UInt8])
        #expect(pixel(1, 0) == bar && pixel(22, 39) == bar && pixel(23, 39) == paper && pixel(0, 39) == paper)
        #expect(pixel(30, 18) == paper && pixel(30, 20) == bar && pixel(60, 39) == paper && pixel(60, 10) == line)
    }

    @Test("a run does not end because nobody can be told of its progress: a full disk, a terminal that was closed")
    func nobodyListens() throws {
        let (own, full) = (dup(STDERR_FILENO), open("/dev/full", O_WRONLY))
        try #require(own >= 0 && full >= 0)
        dup2(full, STDERR_FILENO)
        defer {
            dup2(own, STDERR_FILENO)
            close(own)
            close(full)
        }
        ProgressLine.standardError(quiet: false).note("x")
    }
}
