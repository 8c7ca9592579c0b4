import RLDGraph

extension ImageTransform {
    /// One image as the network sees it, [channels, height, width]: crop, flip and normalisation as the type defines them.
    func apply(to table: ImageTable, index: Int, seed: UInt64, epoch: Int) -> [Double] {
        let draw = draw(seed: seed, epoch: epoch, index: index)
        let start = index * table.imageSize
        var image = [Double](repeating: 0, count: table.imageSize)
        for c in 0..<table.channels {
            let (mean, deviation) = (Double(mean[c]), Double(deviation[c]))
            for row in 0..<table.height {
                for column in 0..<table.width {
                    let h = row + draw.row - cropPadding
                    let w = (draw.flipped ? table.width - 1 - column : column) + draw.column - cropPadding
                    let inside = h >= 0 && h < table.height && w >= 0 && w < table.width
                    let pixel = inside ? Double(table.pixels[start + (c * table.height + h) * table.width + w]) / 255 : 0
                    image[(c * table.height + row) * table.width + column] = (pixel - mean) / deviation
                }
            }
        }
        return image
    }
}
