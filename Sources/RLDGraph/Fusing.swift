extension Network {
    /// Where an addition and a rectifier may be absorbed.
    public enum FusingMode: Sendable {
        /// Convolutions and batch norms.
        case inference
        /// Batch norms only: their backward reads the rectified output, a convolution's does not.
        case training
    }

    /// Absorbs `add` and `relu` into the last step of the operation that feeds them, where nobody else reads the value
    /// in between. The network computes the same values; weights and their names do not change.
    /// - Parameter keeping: nodes whose values must stay visible (features that are asked for).
    public func fusingEpilogues(for mode: FusingMode, keeping: Set<NodeID> = []) -> Network {
        var rewriter = Rewriter(self, keeping: keeping)
        let readers = readerCounts(keeping: keeping)
        let needed = needed(keeping: keeping)

        for (id, node) in nodes.enumerated() where needed[id] {
            switch node.operation {
            case .add:
                // The later of the two inputs absorbs the sum: by then the other exists.
                let host = max(rewriter.resolve(node.inputs[0]), rewriter.resolve(node.inputs[1]))
                let other = min(rewriter.resolve(node.inputs[0]), rewriter.resolve(node.inputs[1]))
                guard host != other, var epilogue = rewriter[host].operation.epilogue(for: mode),
                    epilogue == Epilogue(), isPrivate(host, rewriter, readers, keeping)
                else { continue }
                epilogue.residual = true
                rewriter.replace(
                    host, with: rewriter[host].operation.withEpilogue(epilogue), inputs: rewriter[host].inputs + [other])
                rewriter.forward(id, to: host)
            case .relu, .relu6:
                let host = rewriter.resolve(node.inputs[0])
                let limited = node.operation == .relu6
                guard var epilogue = rewriter[host].operation.epilogue(for: mode), !epilogue.relu,
                    isPrivate(node.inputs[0], rewriter, readers, keeping), !limited || rewriter[host].operation.absorbsReLU6
                else { continue }
                epilogue.relu = true
                epilogue.relu6 = limited
                rewriter.replace(host, with: rewriter[host].operation.withEpilogue(epilogue))
                rewriter.forward(id, to: host)
            default: continue
            }
        }
        return rewriter.network()
    }

    /// Whether a value has one reader and need not stay visible.
    private func isPrivate(_ id: NodeID, _ rewriter: Rewriter, _ readers: [Int], _ keeping: Set<NodeID>) -> Bool {
        readers[id] == 1 && !keeping.contains(id)
    }
}

extension Network.Operation {
    /// The epilogue of an operation that has one and may absorb more in this mode.
    fileprivate func epilogue(for mode: Network.FusingMode) -> Epilogue? {
        switch self {
        case .convolution(let c): mode == .inference ? c.epilogue : nil
        case .batchNorm(let b): b.epilogue
        default: nil
        }
    }

    fileprivate func withEpilogue(_ epilogue: Epilogue) -> Network.Operation {
        switch self {
        case .convolution(var c):
            c.epilogue = epilogue
            return .convolution(c)
        case .batchNorm(var b):
            b.epilogue = epilogue
            return .batchNorm(b)
        default: return self
        }
    }

    /// ReLU6 goes into convolutions only, and they absorb nothing in training: no backward has to know it.
    fileprivate var absorbsReLU6: Bool { if case .convolution = self { true } else { false } }
}
