import RLDGraph

extension ImageTransform {
    /// One image as the network sees it before mixing and normalisation, [channels, height, width] in 0...1.
    /// - Parameters:
    ///   - image: as it is stored, extents as the table's.
    ///   - index: of the image in its table, for the random part.
    func apply(to image: ArraySlice<UInt8>, of table: ImageTable, index: Int, seed: UInt64, epoch: Int) -> [Double] {
        resamples
            ? place(image, table, index: index, seed: seed, epoch: epoch)
            : move(image, table, index: index, seed: seed, epoch: epoch)
    }

    /// (x - mean) / deviation per channel.
    func normalized(_ image: [Double]) -> [Double] {
        let plane = image.count / max(mean.count, 1)
        return image.indices.map { (image[$0] - Double(mean[$0 / plane])) / Double(deviation[$0 / plane]) }
    }

    /// Crop and flip alone: pixels move.
    private func move(_ pixels: ArraySlice<UInt8>, _ table: ImageTable, index: Int, seed: UInt64, epoch: Int) -> [Double] {
        let draw = draw(seed: seed, epoch: epoch, index: index)
        let start = pixels.startIndex
        var image = [Double](repeating: 0, count: table.imageSize)
        for c in 0..<table.channels {
            for row in 0..<table.height {
                for column in 0..<table.width {
                    let h = row + draw.row - cropPadding
                    let w = (draw.flipped ? table.width - 1 - column : column) + draw.column - cropPadding
                    guard h >= 0 && h < table.height && w >= 0 && w < table.width else { continue }
                    image[(c * table.height + row) * table.width + column] =
                        Double(pixels[start + (c * table.height + h) * table.width + w]) / 255
                }
            }
        }
        return image
    }

    /// A box of the image, scaled to the output by bilinear interpolation, its colours changed.
    private func place(_ pixels: ArraySlice<UInt8>, _ table: ImageTable, index: Int, seed: UInt64, epoch: Int) -> [Double] {
        let placement = placement(seed: seed, epoch: epoch, index: index, height: table.height, width: table.width)
        let shape = inputShape(of: table)
        let (height, width) = (shape[1], shape[2])
        var image = [Double](repeating: 0, count: shape[0] * height * width)
        for row in 0..<height {
            for column in 0..<width {
                let across = placement.flipped ? width - 1 - column : column
                let y = Double(placement.top) + (Double(row) + 0.5) * Double(placement.height) / Double(height) - 0.5
                let x = Double(placement.left) + (Double(across) + 0.5) * Double(placement.width) / Double(width) - 0.5
                var colours = (0..<table.channels).map { sample(pixels, table, channel: $0, y: y, x: x) }
                changeColours(&colours, placement)
                for c in colours.indices { image[(c * height + row) * width + column] = colours[c] }
            }
        }
        return image
    }

    private func sample(_ pixels: ArraySlice<UInt8>, _ table: ImageTable, channel: Int, y: Double, x: Double) -> Double {
        guard y >= -0.5, y <= Double(table.height) - 0.5, x >= -0.5, x <= Double(table.width) - 0.5 else { return 0 }
        let (cy, cx) = (min(max(y, 0), Double(table.height - 1)), min(max(x, 0), Double(table.width - 1)))
        let (y0, x0) = (Int(cy), Int(cx))
        let (y1, x1) = (min(y0 + 1, table.height - 1), min(x0 + 1, table.width - 1))
        let (fy, fx) = (cy - Double(y0), cx - Double(x0))
        func pixel(_ y: Int, _ x: Int) -> Double {
            Double(pixels[pixels.startIndex + (channel * table.height + y) * table.width + x])
        }
        return ((pixel(y0, x0) * (1 - fx) + pixel(y0, x1) * fx) * (1 - fy) + (pixel(y1, x0) * (1 - fx) + pixel(y1, x1) * fx) * fy)
            / 255
    }

    private func changeColours(_ colours: inout [Double], _ placement: Placement) {
        func clamped(_ value: Double) -> Double { min(max(value, 0), 1) }
        colours = colours.map { clamped($0 * Double(placement.brightness)) }
        colours = colours.map { clamped(0.5 + Double(placement.contrast) * ($0 - 0.5)) }
        guard colours.count == 3 else { return }
        let grey = 0.299 * colours[0] + 0.587 * colours[1] + 0.114 * colours[2]
        colours = colours.map { clamped(grey + Double(placement.saturation) * ($0 - grey)) }
    }
}

extension BatchMixing {
    /// One image mixed with another, [channels, height, width] each.
    func mixed(_ image: [Double], with other: [Double], height: Int, width: Int) -> [Double] {
        image.indices.map { i in
            guard let box else { return share * image[i] + (1 - share) * other[i] }
            let (row, column) = (i / width % height, i % width)
            let inside = row >= box[0] && row < box[0] + box[2] && column >= box[1] && column < box[1] + box[3]
            return inside == keepsBox ? image[i] : other[i]
        }
    }
}
