import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDReference
import RLDTraining
import TestSupport
import Testing

/// Batch norms of a frozen network that no convolution takes in: what they multiply by is made once, of what was loaded last.
@Suite("Frozen batch norms", .enabled(if: TestDevice.enabled, "no OpenCL device")) struct FrozenStatisticsTests {
    @Test(arguments: TestDevice.profiles) func statisticsAreMadeWhenTheyAreLoaded(profile: KernelProfile) throws {
        let network = Network("preactivated", input: [12, 5, 3]) { net, x in
            let first = net.relu(net.batchNorm(x, name: "a"))
            let second = net.convolution(first, 7, kernel: 3, name: "c")
            return net.convolution(net.relu(net.batchNorm(net.add(second, second), name: "b")), 5, kernel: 1, name: "d")
        }
        let engine = try DeviceEngine(TestDevice.device(), profile: profile, guardElements: 16)
        let state = DeviceChecks.randomState(network)
        let device = try DeviceNetwork(network, state: state, role: .teacher, engine: engine)
        let plan = try device.plan(batch: 2, mode: .inference)
        let images = DeviceChecks.random(2 * network.nodes[0].size, stream: 1)

        func check(_ state: NetworkState, _ what: String) throws -> Int {
            let reference = try ReferenceNetwork(network, state: state)
            let expected = try reference.forward(images, batch: 2, training: false)
            try plan.write(images)
            let before = engine.context.counters.launches
            try plan.forward()
            let launches = engine.context.counters.launches - before
            let found = Layout.toNCHW(try engine.read(plan.output), batch: 2, shape: network.nodes[network.output].shape)
            #expect(DeviceChecks.relativeError(found, expected) < DeviceChecks.bound, "\(what)")
            #expect(try plan.damagedGuards() == 0)
            return launches
        }
        let launches = try check(state, "as it was made")
        // Two normalisations, two convolutions, an addition.
        #expect(launches <= 5)

        var other = state
        for name in ["a", "b"] {
            for (tensor, factor) in [("running_mean", -1.5), ("running_var", 3)] {
                other["\(name).\(tensor)"] = state["\(name).\(tensor)"].map { old in
                    Tensor(shape: old.shape, values: old.values.map { $0 * factor })
                }
            }
        }
        try device.store.load(other)
        #expect(try check(other, "loaded anew") == launches)
    }
}
