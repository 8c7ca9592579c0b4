/// Eight steps of RLD from a formula teacher to a formula student.
public struct TrajectoryGolden: Decodable, Sendable {
    public struct Hyper: Decodable, Sendable {
        public let ceWeight: Double
        public let alpha: Double
        public let beta: Double
        public let temperature: Double
        public let confidenceTemperature: Double
        public let standardize: Bool

        enum CodingKeys: String, CodingKey {
            case ceWeight = "ce_weight"
            case alpha, beta
            case temperature = "T"
            case confidenceTemperature = "alpha_T"
            case standardize = "logit_stand"
        }
    }

    public struct Student: Decodable, Sendable {
        public let model: String
        public let runningVarScale: Float

        enum CodingKeys: String, CodingKey {
            case model
            case runningVarScale = "running_var_scale"
        }
    }

    /// Formula weights with prefix `teacher/`, then fc.weight times the multiplier and fc.bias replaced.
    public struct Teacher: Decodable, Sendable {
        public let model: String
        public let runningVarScale: Float
        public let fcWeightMultiplier: Float
        public let fcBias: [Float]

        enum CodingKeys: String, CodingKey {
            case model
            case runningVarScale = "running_var_scale"
            case fcWeightMultiplier = "fc_weight_multiplier"
            case fcBias = "fc_bias_float32"
        }
    }

    public struct Optimizer: Decodable, Sendable {
        public let learningRate: Double
        public let momentum: Double
        public let weightDecay: Double
        public let nesterov: Bool

        enum CodingKeys: String, CodingKey {
            case learningRate = "lr"
            case momentum, nesterov
            case weightDecay = "weight_decay"
        }
    }

    public struct Step: Decodable, Sendable {
        public let total: Double
        public let ce: Double
        public let scd: Double
        public let mcd: Double
        /// Of all parameter gradients together.
        public let gradientL2: Double
        public let studentLogitsL2: Double
        public let teacherLogitsL2: Double
        /// Rows that the teacher gets right.
        public let teacherRight: Int
        /// Classes that the mask removes, per row.
        public let maskedPerRow: [Int]
        public let parameterL2AfterStep: Double

        enum CodingKeys: String, CodingKey {
            case total, ce, scd, mcd
            case gradientL2 = "grad_l2"
            case studentLogitsL2 = "student_logits_l2"
            case teacherLogitsL2 = "teacher_logits_l2"
            case teacherRight = "teacher_right"
            case maskedPerRow = "masked_per_row"
            case parameterL2AfterStep = "param_l2_after_step"
        }
    }

    public struct Final: Decodable, Sendable {
        /// For the images `traj/eval`, after the last step, with running statistics.
        public let studentLogits: [[Double]]
        public let teacherLogits: [[Double]]
        public let parameterL2: [String: Double]
        /// By state-dict name ("bn1.running_mean").
        public let runningL2: [String: Double]

        enum CodingKeys: String, CodingKey {
            case studentLogits = "student_eval_logits"
            case teacherLogits = "teacher_eval_logits"
            case parameterL2 = "param_l2"
            case runningL2 = "running_l2"
        }
    }

    public struct Run: Decodable, Sendable {
        public let steps: [Step]
        public let final: Final
    }

    public let hyper: Hyper
    public let classes: Int
    public let batch: Int
    public let steps: Int
    /// Factor of the distillation terms, already evaluated for the run's epoch.
    public let warmupFactor: Double
    public let student: Student
    public let teacher: Teacher
    public let optimizer: Optimizer
    /// Per step and row.
    public let labels: [[Int]]
    public let float64: Run
    public let float32: Run

    /// Formula name of a step's images, steps from 0.
    public static func images(step: Int) -> String { "traj/images/\(step)" }
    /// Formula name of the images of the final evaluation; their number is that of its logits.
    public static let evaluationImages = "traj/eval"

    enum CodingKeys: String, CodingKey {
        case hyper
        case classes = "num_classes"
        case batch, steps
        case warmupFactor = "warmup_factor"
        case student, teacher, optimizer, labels
        case float64 = "f64"
        case float32 = "f32"
    }
}
