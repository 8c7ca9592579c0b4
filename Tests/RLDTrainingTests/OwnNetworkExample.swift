import RLD

/// A small separable network of one's own, known by the id `tinynet` from then on: to trainers, teachers, saved runs.
func registerTinyNet() throws {
    try ModelCatalog.register("tinynet") { classes, input in
        try Network(validating: "tinynet", input: input) { net, image in
            var x = net.relu(net.batchNorm(net.convolution(image, 16, kernel: 3, name: "stem.0"), name: "stem.1"))
            for block in 0..<3 {
                var y = net.depthwiseConvolution(x, kernel: 3, name: "blocks.\(block).0")
                y = net.convolution(
                    net.relu6(net.batchNorm(y, name: "blocks.\(block).1")), 16, kernel: 1, name: "blocks.\(block).3")
                x = net.relu(net.add(net.batchNorm(y, name: "blocks.\(block).4"), x))
            }
            net.feature("last", x)
            return net.linear(net.globalAveragePool(net.maxPool(x, kernel: 2)), classes, name: "head")
        }
    }
}
