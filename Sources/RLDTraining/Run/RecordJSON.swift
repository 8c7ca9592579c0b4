import Foundation

/// The JSON of a run's records. Numbers that JSON cannot hold are "nan", "inf" and "-inf"; keys are sorted, so that equal records
/// are equal texts.
package enum RecordJSON {
    private static let (infinity, minusInfinity, nan) = ("inf", "-inf", "nan")

    /// - Parameter keys: snake case, as in every file for people and other tools.
    package static func encoder(
        keys: JSONEncoder.KeyEncodingStrategy = .convertToSnakeCase, pretty: Bool = false
    ) -> JSONEncoder {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = keys
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: infinity, negativeInfinity: minusInfinity, nan: nan)
        return encoder
    }

    /// - Parameter keys: those of the encoder.
    package static func decoder(keys: JSONDecoder.KeyDecodingStrategy = .convertFromSnakeCase) -> JSONDecoder {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = keys
        decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: infinity, negativeInfinity: minusInfinity, nan: nan)
        return decoder
    }
}
