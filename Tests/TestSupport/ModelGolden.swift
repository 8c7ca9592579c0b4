/// A published model: names and counts, and for some its activations and gradients on formula inputs.
public struct ModelGolden: Decodable, Sendable {
    public struct Entry: Decodable, Sendable {
        public let name: String
        public let shape: [Int]
        /// "param" or "buffer".
        public let kind: String

        public init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            name = try values.decode(String.self)
            shape = try values.decode([Int].self)
            kind = try values.decode(String.self)
        }
    }

    /// One value per stage, and one for the pooled feature.
    public struct PerFeature<Value: Decodable & Sendable>: Decodable, Sendable {
        public let feats: [Value]
        public let preactFeats: [Value]?
        public let pooledFeat: Value

        /// The same by the names under which networks keep them: "feats/0", "preact_feats/1", "pooled_feat".
        public var byName: [String: Value] {
            var result = ["pooled_feat": pooledFeat]
            for (stage, value) in feats.enumerated() { result["feats/\(stage)"] = value }
            for (stage, value) in (preactFeats ?? []).enumerated() { result["preact_feats/\(stage)"] = value }
            return result
        }

        enum CodingKeys: String, CodingKey {
            case feats
            case preactFeats = "preact_feats"
            case pooledFeat = "pooled_feat"
        }
    }

    /// Evaluation mode, formula weights, two formula images.
    public struct Evaluation: Decodable, Sendable {
        public let images: [String]
        /// [2, classes].
        public let logits: [[Double]]
        /// Per feature over both images: mean, mean |x|, L2.
        public let featureNorms: PerFeature<[Double]>
        public let featureProbe: PerFeature<Double>

        enum CodingKeys: String, CodingKey {
            case images
            case logits = "logits_f64"
            case featureNorms = "feature_mean_absmean_l2"
            case featureProbe = "feature_probe"
        }
    }

    /// One cross-entropy step in training mode on formula images and labels.
    public struct Training: Decodable, Sendable {
        public struct RepeatedUpdate: Decodable, Sendable {
            public let times: Int
            /// L2 of running mean and running variance after a single update.
            public let l2AfterFirstUpdate: [Double]

            enum CodingKeys: String, CodingKey {
                case times
                case l2AfterFirstUpdate = "l2_after_first_update"
            }
        }

        /// Formula names.
        public let images: String
        public let labels: String
        public let batch: Int
        public let loss: Double
        public let logitsL2: Double
        public let firstLogits: [Double]
        /// Per parameter: L2, then the first four elements.
        public let gradients: [String: [Double]]
        public let gradientProbe: [String: Double]
        /// Per batch norm: L2 of running mean and running variance after the forward pass.
        public let runningL2: [String: [Double]]
        /// The published wide networks run some batch norms twice; ours once.
        public let updatedMoreThanOnce: [String: RepeatedUpdate]
        /// After one step of SGD: learning rate 0.05, momentum 0.9, weight decay 5e-4.
        public let parameterL2AfterSGD: [String: Double]

        enum CodingKeys: String, CodingKey {
            case images, labels, batch, loss
            case logitsL2 = "logits_l2"
            case firstLogits = "logits_row0_first4"
            case gradients = "grads"
            case gradientProbe = "grad_probe"
            case runningL2 = "running_l2"
            case updatedMoreThanOnce = "bn_updated_more_than_once"
            case parameterL2AfterSGD = "param_l2_after_sgd"
        }
    }

    public let id: String
    public let classes: Int
    public let input: [Int]
    public let parameters: Int
    public let multiplyAdds: Int
    /// In state-dict order.
    public let state: [Entry]
    /// Factor of the formula's running variances.
    public let runningVarScale: Float?
    public let featureShapes: PerFeature<[Int]>?
    public let evaluation: Evaluation?
    public let training: Training?

    enum CodingKeys: String, CodingKey {
        case id = "model"
        case classes = "num_classes"
        case input, parameters, state
        case multiplyAdds = "macs"
        case runningVarScale = "running_var_scale"
        case featureShapes = "feature_shapes"
        case evaluation = "eval"
        case training = "train"
    }
}
