import RLDGraph

/// The sizes of a convolution in one group, as lowering and packing need them.
struct ConvolutionGeometry {
    let c: Convolution
    let input: Extent
    let output: Extent

    init(_ network: Network, _ id: Network.NodeID, _ c: Convolution) {
        self.c = c
        input = Extent(network.nodes[network.nodes[id].inputs[0]].shape)
        output = Extent(network.nodes[id].shape)
    }

    private init(_ c: Convolution, input: Extent, output: Extent) {
        (self.c, self.input, self.output) = (c, input, output)
    }

    /// The convolution of the output's gradient with the transposed weights that gives the input's, where the kernel is a pixel and
    /// none is left out; nil elsewhere.
    var pointwiseTranspose: ConvolutionGeometry? {
        guard c.kernel == 1, c.stride == 1, c.padding == 0 else { return nil }
        var transposed = c
        (transposed.inputChannels, transposed.outputChannels) = (c.outputChannels, c.inputChannels)
        return ConvolutionGeometry(transposed, input: output, output: input)
    }

    var taps: Int { c.kernel * c.kernel }

    /// Winograd tiles per image for results of this extent.
    static func winogradTiles(_ extent: Extent, results: Int = 4) -> Int {
        ceilDivide(extent.height, results) * ceilDivide(extent.width, results)
    }

    /// Whether Winograd's F(results x results, 3x3) suits where `extent` is computed (the output, or the input's gradient).
    private func prefersWinograd(_ extent: Extent, results: Int = 4) -> Bool {
        c.kernel == 3 && c.stride == 1 && c.padding <= 2 && c.inputChannels % 16 == 0 && c.outputChannels % 16 == 0
            // A tile costs all its products: at least half of its results must be wanted.
            && results * results * Self.winogradTiles(extent, results: results) <= 2 * extent.plane
    }

    /// The forward pass of a frozen network, and the weight gradient.
    var winogradForward: Bool { prefersWinograd(output) }
    /// F(2x2, 3x3) in a forward pass that is differentiated.
    var smallWinogradForward: Bool { prefersWinograd(output, results: 2) }
    var winogradInputGradient: Bool { prefersWinograd(input) }

    /// Whether the gpu profile takes it for a frozen forward pass or, transposed, an input gradient: where memory between its launches
    /// holds an image.
    func winograd(on engine: DeviceEngine, transposed: Bool) -> Bool {
        let (channels, extent) = transposed ? (c.inputChannels, input) : (c.outputChannels, output)
        return engine.tiles.takesWinograd(min(c.inputChannels, c.outputChannels))
            && channels % engine.tiles.block(channels) == 0 && prefersWinograd(extent)
            && 36 * Self.winogradTiles(extent) * (c.inputChannels + c.outputChannels) <= engine.winogradScratch
    }
}
