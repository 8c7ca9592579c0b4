import RLDGraph
import RLDMethods
import RLDModels
import Testing

extension TrajectoryGolden {
    public typealias Prepared = (network: Network, state: NetworkState)

    /// Student and teacher with their formula weights.
    public func networks() throws -> (student: Prepared, teacher: Prepared) {
        let studentNetwork = try ModelCatalog.network(student.model, classes: classes)
        let teacherNetwork = try ModelCatalog.network(teacher.model, classes: classes)
        var teacherState = formulaState(for: teacherNetwork, prefix: "teacher/", runningVarScale: teacher.runningVarScale)
        var weight = try #require(teacherState["fc.weight"])
        weight.values = weight.values.map { Double(Float($0) * teacher.fcWeightMultiplier) }
        teacherState["fc.weight"] = weight
        teacherState["fc.bias"] = Tensor(shape: [classes], values: teacher.fcBias.map(Double.init))
        return (
            (studentNetwork, formulaState(for: studentNetwork, runningVarScale: student.runningVarScale)),
            (teacherNetwork, teacherState)
        )
    }

    public var method: Method {
        var rld = RefinedLogitDistillation()
        rld.crossEntropyWeight = hyper.ceWeight
        rld.alpha = hyper.alpha
        rld.beta = hyper.beta
        rld.temperature = hyper.temperature
        rld.confidenceTemperature = hyper.confidenceTemperature
        rld.standardize = hyper.standardize
        return .refinedLogitDistillation(rld)
    }

    public func images(step: Int) -> Tensor { FormulaValues.images(Self.images(step: step), shape: [batch, 3, 32, 32]) }

    public func evaluationImages() -> Tensor {
        FormulaValues.images(Self.evaluationImages, shape: [float64.final.studentLogits.count, 3, 32, 32])
    }
}
