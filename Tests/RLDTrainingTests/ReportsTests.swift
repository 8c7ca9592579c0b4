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
}
