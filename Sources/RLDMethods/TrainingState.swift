import RLDGraph

/// Everything about a student that training changes, without loss: what a checkpoint needs to go on as if nothing had happened.
public struct TrainingState: Sendable, Equatable {
    /// Parameters, running statistics and counters.
    public var weights: NetworkState
    /// What the optimiser remembers, by its name ("momentum"): values by parameter, in the parameter's shape. A slot that was
    /// never used is absent.
    public var slots: [String: NetworkState]

    public init(weights: NetworkState, slots: [String: NetworkState] = [:]) {
        self.weights = weights
        self.slots = slots
    }
}
