import Foundation

/// TensorBoard's event files: protobuf messages (tensorflow.Event), each framed by its length and two checksums. What is needed
/// of the format is written by hand: a handful of fields.
public enum EventFile {
    /// What TensorBoard looks for in a file's name.
    public static let name = "events.out.tfevents.0.rld"

    /// The first record of a file.
    public static func version(at time: Double) -> Data { record(time, 0) { $0.text(3, "brain.Event:2") } }

    /// Numbers by their tags.
    public static func scalars(_ values: [(tag: String, value: Double)], step: Int, at time: Double) -> Data {
        summary(step, time) { summary in
            for (tag, value) in values {
                summary.message(1) { message in
                    message.text(1, tag)
                    message.float(2, Float(value))
                }
            }
        }
    }

    /// A text, shown as Markdown.
    public static func text(_ tag: String, _ text: String, step: Int, at time: Double) -> Data {
        summary(step, time) { summary in
            summary.message(1) { value in
                value.text(1, tag)
                value.message(8) { tensor in
                    tensor.integer(1, 7)  // DT_STRING
                    tensor.message(2) { shape in shape.message(2) { $0.integer(1, 1) } }
                    tensor.text(8, text)
                }
                value.message(9) { metadata in metadata.message(1) { $0.text(1, "text") } }
            }
        }
    }

    /// A PNG.
    public static func image(_ tag: String, png: Data, width: Int, height: Int, step: Int, at time: Double) -> Data {
        summary(step, time) { summary in
            summary.message(1) { value in
                value.text(1, tag)
                value.message(4) { image in
                    image.integer(1, height)
                    image.integer(2, width)
                    image.integer(3, 3)  // Red, green, blue.
                    image.bytes(4, png)
                }
            }
        }
    }

    private static func summary(_ step: Int, _ time: Double, _ body: (inout Message) -> Void) -> Data {
        record(time, step) { $0.message(5, body) }
    }

    private static func record(_ time: Double, _ step: Int, _ body: (inout Message) -> Void) -> Data {
        var event = Message()
        event.double(1, time)
        event.integer(2, step)
        body(&event)
        let length = withUnsafeBytes(of: UInt64(event.data.count).littleEndian) { Data($0) }
        return length + checksum(length) + event.data + checksum(event.data)
    }

    /// CRC-32C, rotated and shifted as the format wants it.
    private static func checksum(_ data: Data) -> Data {
        let crc = CRC32C.value(data)
        let masked = ((crc >> 15) | (crc << 17)) &+ 0xA282_EAD8
        return withUnsafeBytes(of: masked.littleEndian) { Data($0) }
    }

    /// A protobuf message as its bytes.
    struct Message {
        var data = Data()

        private mutating func variable(_ value: UInt64) {
            var value = value
            while value >= 0x80 {
                data.append(UInt8(truncatingIfNeeded: value) | 0x80)
                value >>= 7
            }
            data.append(UInt8(value))
        }

        private mutating func key(_ field: Int, _ type: UInt64) { variable(UInt64(field) << 3 | type) }

        mutating func integer(_ field: Int, _ value: Int) {
            key(field, 0)
            variable(UInt64(bitPattern: Int64(value)))
        }

        mutating func double(_ field: Int, _ value: Double) {
            key(field, 1)
            withUnsafeBytes(of: value.bitPattern.littleEndian) { data.append(contentsOf: $0) }
        }

        mutating func float(_ field: Int, _ value: Float) {
            key(field, 5)
            withUnsafeBytes(of: value.bitPattern.littleEndian) { data.append(contentsOf: $0) }
        }

        mutating func bytes(_ field: Int, _ value: Data) {
            key(field, 2)
            variable(UInt64(value.count))
            data.append(value)
        }

        mutating func text(_ field: Int, _ value: String) { bytes(field, Data(value.utf8)) }

        mutating func message(_ field: Int, _ body: (inout Message) -> Void) {
            var message = Message()
            body(&message)
            bytes(field, message.data)
        }
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
