import RLDGraph
import Testing

/// What a program hands in is checked where it comes in, and refused with words instead of a stop.
struct HostValueTests {
    @Test(arguments: [([2, 3], 6, true), ([], 1, true), ([0, 4], 0, true), ([2, 3], 5, false), ([-2, -3], 6, false)])
    func tensorsHoldWhatTheirShapeSays(shape: [Int], count: Int, isRight: Bool) throws {
        let values = (0..<count).map(Double.init)
        guard isRight else {
            let error = #expect(throws: InputError.self) { try Tensor(validating: shape, values: values) }
            #expect(error?.description == "tensor of shape \(shape): \(count) values")
            return
        }
        let tensor = try Tensor(validating: shape, values: values)
        #expect(tensor.shape == shape && tensor.values == values)
    }

    @Test func shapesBeyondAllMemoryHaveNoCount() {
        #expect(elementCount(of: [1 << 32, 1 << 32]) == nil)
        #expect(elementCount(of: [0, 1 << 32, 1 << 32]) == nil)
        #expect(elementCount(of: [0, -1]) == nil)
        #expect(elementCount(of: [1 << 31, 1 << 31]) == 1 << 62)
    }

    @Test func imagesMatchTheirLabels() throws {
        func problem(
            channels: Int = 2, pixels: Int = 24, labels: [Int32] = [0, 1], stream: ImageStream? = nil
        ) -> String {
            do {
                let table = try ImageTable(
                    validating: channels, height: 2, width: 3, pixels: Array(repeating: 7, count: pixels), stream: stream,
                    labels: labels, classNames: ["a", "b"])
                return "\(table.count) images of \(table.imageSize), \(table.stream == nil ? "held" : "streamed")"
            } catch { return error.description }
        }
        let stream = ImageStream(contentHash: "0", histograms: []) { _ in Array(repeating: 1, count: 12) }
        #expect(problem() == "2 images of 12, held")
        #expect(problem(pixels: 0, stream: stream) == "2 images of 12, streamed")
        #expect(problem(pixels: 23) == "images: 23 bytes of pixels for 2 labels and 2 channels of 2x3; expected 24")
        #expect(problem(stream: stream).hasSuffix("expected none beside a stream"))
        #expect(problem(channels: -2).contains("expected positive extents"))
        #expect(problem(labels: [0, 2]) == "images: the label of image 1 is 2; expected 0 to 1, one per class name")
        #expect(problem(labels: [-100, 1]).contains("image 0 is -100"))
    }
}
