import RLDGraph

/// Products that tf32 concerns, each alone: what a product reads must be exact in float32, since a value that the reference holds more
/// exactly than the device may be rounded to another operand.
extension OperationCase {
    private struct Shape {
        var channels: Int
        var size: [Int]
        var outputs: Int
        var kernel: Int
        var stride = 1
        var padding: Int?
        var batch = 2
        var bias = false
    }

    /// Tiles of 16, 32, 64 and 128 channels in both directions, filled and not.
    private static let shapes: [Shape] = [
        Shape(channels: 1, size: [9, 7], outputs: 17, kernel: 3, bias: true),
        Shape(channels: 3, size: [11, 8], outputs: 5, kernel: 7, stride: 2),
        Shape(channels: 5, size: [7, 9], outputs: 33, kernel: 3, stride: 2, batch: 3),
        Shape(channels: 17, size: [6, 5], outputs: 17, kernel: 3, bias: true),
        Shape(channels: 33, size: [5, 6], outputs: 40, kernel: 1, batch: 3),
        Shape(channels: 64, size: [6, 6], outputs: 3, kernel: 1, stride: 2),
        Shape(channels: 48, size: [9, 10], outputs: 80, kernel: 3), Shape(channels: 100, size: [4, 5], outputs: 250, kernel: 1),
    ]

    private static func convolution(_ s: Shape) -> OperationCase {
        OperationCase(
            "convolution \(s.kernel)x\(s.kernel)/\(s.stride)\(s.padding.map { " pad \($0)" } ?? ""), "
                + "\(s.batch)x\(s.channels)x\(s.size[0])x\(s.size[1]) to \(s.outputs)",
            input: [s.channels] + s.size, batch: s.batch
        ) { $0.convolution($1, s.outputs, kernel: s.kernel, stride: s.stride, padding: s.padding, bias: s.bias, name: "c") }
    }

    /// For every size of a tile: of 16, 32, 64 and 128 channels, in neighbours of four and not.
    package static let tiles: [OperationCase] =
        [
            Shape(channels: 16, size: [9, 11], outputs: 16, kernel: 3, batch: 3),
            Shape(channels: 24, size: [8, 9], outputs: 36, kernel: 3, stride: 2, batch: 3, bias: true),
            Shape(channels: 3, size: [13, 7], outputs: 200, kernel: 5, stride: 2),
        ].map(convolution) + halos

    /// Tiles with what surrounds them, of every width, on images that they fill and not, alone and added to what is there.
    package static let halos: [OperationCase] =
        [
            Shape(channels: 16, size: [12, 16], outputs: 16, kernel: 3, bias: true),
            Shape(channels: 32, size: [8, 23], outputs: 36, kernel: 3, batch: 1),
            Shape(channels: 16, size: [4, 32], outputs: 132, kernel: 3),
            Shape(channels: 48, size: [10, 18], outputs: 72, kernel: 3, padding: 0, batch: 1),
            Shape(channels: 16, size: [6, 14], outputs: 128, kernel: 3, padding: 2),
        ].map(convolution) + [
            OperationCase("convolution 3x3 + add + relu, 3x32x8x8, folded", input: [32, 8, 8], batch: 3, folded: true) {
                $0.relu($0.add($0.convolution($1, 32, kernel: 3, bias: true, name: "c"), $1))
            },
            OperationCase("convolutions 3x3, shared, 2x16x8x16", input: [16, 8, 16], batch: 2) {
                $0.add($0.convolution($1, 20, kernel: 3, name: "a"), $0.convolution($1, 20, kernel: 3, name: "b"))
            },
        ]

    static let tinyTiles: [OperationCase] = [
        tinyProducts[0],
        OperationCase("tiny 3x3 convolution of neighbours", input: [16, 6, 16], batch: 1) {
            $0.convolution($1, 20, kernel: 3, bias: true, name: "c")
        },
    ]

    static let products: [OperationCase] =
        shapes.map(convolution) + [
            OperationCase("linear 65x33 to 13", input: [33], batch: 65) { $0.linear($1, 13, name: "fc") },
            OperationCase("linear 3x100 to 64", input: [100], batch: 3) { $0.linear($1, 64, bias: false, name: "fc") },
            OperationCase("convolution + add + relu, folded", input: [20, 7, 5], batch: 3, folded: true) {
                let y = $0.convolution($1, 20, kernel: 3, bias: true, name: "c")
                return $0.relu($0.add(y, $1))
            },
            OperationCase("convolutions, shared", input: [12, 6, 7], batch: 2) {
                // The second adds its input gradient to the first's.
                let y = $0.convolution($1, 36, kernel: 1, name: "a")
                return $0.add(y, $0.convolution($1, 36, kernel: 3, name: "b"))
            },
        ] + tinyProducts

    static let tinyProducts: [OperationCase] = [
        OperationCase("tiny convolution", input: [3, 4, 5], batch: 2) {
            $0.convolution($1, 18, kernel: 3, bias: true, name: "c")
        },
        OperationCase("tiny convolution, stride 2", input: [3, 5, 4], batch: 1) {
            $0.convolution($1, 4, kernel: 3, stride: 2, name: "c")
        },
        OperationCase("tiny linear", input: [5], batch: 3) { $0.linear($1, 33, name: "fc") },
        OperationCase("tiny linear, wide", input: [6], batch: 2) { $0.linear($1, 72, name: "fc") },
    ]
}
