import Foundation
import RLDGraph

/// TensorBoard's event files: protobuf messages (event.proto), each framed by its length and two checksums.
public enum EventFile {
    /// What TensorBoard looks for in a file's name.
    public static let name = "events.out.tfevents.0.rld"

    /// The first record of a file.
    public static func version(at time: Double) throws(InputError) -> Data {
        var event = TensorBoardEvent()
        event.wallTime = time
        event.fileVersion = "brain.Event:2"
        return try record(event)
    }

    /// Numbers by their tags.
    public static func scalars(
        _ values: [(tag: String, value: Double)], step: Int, at time: Double
    ) throws(InputError) -> Data {
        try record(values.map { (tag: $0.tag, value: .simpleValue(Float($0.value))) }, step, time)
    }

    /// A text, shown as Markdown.
    public static func text(_ tag: String, _ text: String, step: Int, at time: Double) throws(InputError) -> Data {
        var length = TensorBoardTensorShapeProto.Dim()
        length.size = 1
        var tensor = TensorBoardTensorProto()
        tensor.dtype = .dtString
        tensor.tensorShape.dim = [length]
        tensor.stringVal = [Data(text.utf8)]
        return try record([(tag, .tensor(tensor))], step, time, plugin: "text")
    }

    /// A PNG of red, green and blue.
    public static func image(
        _ tag: String, png: Data, width: Int, height: Int, step: Int, at time: Double
    ) throws(InputError) -> Data {
        var image = TensorBoardSummary.Image()
        image.height = Int32(clamping: height)
        image.width = Int32(clamping: width)
        image.colorspace = 3
        image.encodedImageString = png
        return try record([(tag, .image(image))], step, time)
    }

    /// - Parameter plugin: the part of TensorBoard that shows the values, where their type does not say it.
    private static func record(
        _ values: [(tag: String, value: TensorBoardSummary.Value.OneOf_Value)], _ step: Int, _ time: Double, plugin: String? = nil
    ) throws(InputError) -> Data {
        var event = TensorBoardEvent()
        event.wallTime = time
        event.step = Int64(step)
        event.summary.value = values.map { tag, value in
            var message = TensorBoardSummary.Value()
            message.tag = tag
            message.value = value
            if let plugin { message.metadata.pluginData.pluginName = plugin }
            return message
        }
        return try record(event)
    }

    private static func record(_ event: TensorBoardEvent) throws(InputError) -> Data {
        let message: Data
        do { message = try event.serializedData() } catch {
            throw InputError("event file", "cannot hold a record: \(error)")
        }
        let length = withUnsafeBytes(of: UInt64(message.count).littleEndian) { Data($0) }
        return length + checksum(length) + message + checksum(message)
    }

    /// CRC-32C, rotated and shifted as the format wants it.
    private static func checksum(_ data: Data) -> Data {
        let crc = CRC32C.value(data)
        let masked = ((crc >> 15) | (crc << 17)) &+ 0xA282_EAD8
        return withUnsafeBytes(of: masked.littleEndian) { Data($0) }
    }
}

/// CRC-32C (Castagnoli), bit-reflected, polynomial 0x82F63B78.
enum CRC32C {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
    }

    static func value(_ data: Data) -> UInt32 {
        ~data.reduce(~0) { crc, byte in crc >> 8 ^ table[Int((crc ^ UInt32(byte)) & 0xFF)] }
    }
}
