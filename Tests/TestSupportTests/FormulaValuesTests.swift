import RLDGraph
import RLDModels
import TestSupport
import Testing

/// The published check values: without them a wrong formula would make every golden comparison meaningless.
struct FormulaValuesTests {
    @Test(
        arguments: [
            (0, 0, 0xe220_a839_7b1d_cdaf, 0.8833107948303223), (0, 1, 0x910a_2dec_8902_5cc1, 0.5665615200996399),
            (1, 0, 0xc42c_5a1a_a382_0138, 0.7663017511367798), (1, 1, 0x2043_91a6_fd59_956f, 0.12603098154067993),
            (123_456_789, 5, 0xd6c4_3698_52b4_8a2c, 0.8389314413070679),
            (2_147_483_647, 0, 0x35da_df3d_8dec_1954, 0.2103709578514099),
            (2_147_483_647, 4_294_967_295, 0x2a67_d755_2e03_9ea7, 0.1656469702720642),
            (42, 1_000_000, 0x159b_9a65_81c6_8d99, 0.08440554141998291),
        ] as [(UInt64, UInt64, UInt64, Double)])
    func rawAndUniform(seed: UInt64, index: UInt64, raw: UInt64, u: Double) {
        #expect(FormulaValues.raw(seed, index) == raw)
        #expect(Double(FormulaValues.u(seed, index)) == u)
        #expect(Double(FormulaValues.s(seed, index)) == 2 * u - 1)
    }

    @Test(
        arguments: [
            ("", 0xcbf2_9ce4_8422_2325, 69_346_085, 0.8082811832427979),
            ("a", 0xaf63_dc4c_8601_ec8c, 100_789_388, 0.02138543128967285),
            ("foobar", 0x8594_4171_f739_67e8, 2_000_250_856, 0.43597328662872314),
            ("conv1.weight", 0x69a2_9a2c_ee47_d254, 1_850_200_660, 0.004289865493774414),
            ("layer1.0.bn1.running_var", 0x7a52_8b41_ea8d_6939, 1_787_652_409, 0.9941266775131226),
            ("image/0", 0x55c0_5e40_9d56_758d, 492_205_453, 0.18443584442138672),
            ("train/images", 0x3fb7_b8ab_ed88_56ec, 1_837_651_692, 0.7455227375030518),
            ("teacher/conv1.weight", 0x19f6_259e_6f22_c5a7, 1_864_549_799, 0.038253724575042725),
        ] as [(String, UInt64, UInt64, Double)])
    func hashesAndSeeds(text: String, hash: UInt64, seed: UInt64, u: Double) {
        #expect(FormulaValues.fnv1a64(text) == hash)
        #expect(FormulaValues.seed(text) == seed)
        #expect(Double(FormulaValues.u(seed, 0)) == u)
    }

    @Test(
        arguments: [
            ("conv1.weight", 0xbeef_49cf), ("bn1.weight", 0x3f8f_20b4), ("bn1.bias", 0xbe1c_10cb),
            ("bn1.running_mean", 0x3d56_2b8d), ("bn1.running_var", 0x3fcb_08f2), ("fc.bias", 0xbdaa_8e7f),
        ] as [(String, UInt32)])
    func firstElementsOfResNet8(name: String, bits: UInt32) throws {
        let state = formulaState(for: try ModelCatalog.network("resnet8", classes: 10))
        let first = try #require(state[name]?.values.first)
        #expect(Float(first).bitPattern == bits)
        #expect(Double(Float(first)) == first)
    }

    @Test func labels() {
        #expect(FormulaValues.labels("train/labels", count: 8, classes: 100) == [58, 44, 74, 44, 11, 64, 44, 46])
    }

    @Test func images() {
        let images = FormulaValues.images("image/0", shape: [1, 3, 2, 2])
        #expect(images.shape == [1, 3, 2, 2])
        let first: Double = 2 * (2 * 0.18443584442138672 - 1)
        #expect(images.values[0] == first)
    }

    @Test func aStateHasTheNetworksNamesShapesAndPrefixSeeds() throws {
        let network = try ModelCatalog.network("resnet8x4", classes: 7, input: [1, 28, 28])
        let state = formulaState(for: network, prefix: "teacher/", runningVarScale: 1)
        try state.validate(for: network, source: "formula")
        #expect(state.names == network.stateTensors.map(\.name))
        let first = try #require(state["conv1.weight"]?.values.first)
        let bound = Float((6.0 / 9).squareRoot())
        #expect(Float(first) == (2 * 0.038253724575042725 - 1) * bound)
        #expect(state["bn1.num_batches_tracked"] == Tensor(shape: [], values: [0]))
    }
}
