import ArgumentParser
import RLD

struct DevicesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "devices", abstract: "Lists the OpenCL devices of this machine.",
        discussion: "Example: rld devices --json")

    @Flag(help: "Print the list as JSON on standard output.")
    var json = false

    struct Row: Encodable {
        var index: Int
        var address: String
        var name: String
        var platform: String
        var vendor: String
        var driver: String
        var version: String
        var computeUnits: Int
        /// Bytes.
        var memory: Int
        /// Bytes of the largest single buffer.
        var largestBuffer: Int
        var profile: String
        /// Where CLBlast's parameters and the register tiles come from.
        var tuning: String
        /// Every one of them that is not CLBlast's own.
        var parameters: String
    }

    func run() throws {
        let rows = try Device.all().map { device in
            let tuning = try TuningStore.tuning(for: device)
            return Row(
                index: device.index, address: "\(device.platformIndex):\(device.indexInPlatform)", name: device.name,
                platform: device.platformName, vendor: device.vendor, driver: device.driverVersion, version: device.version,
                computeUnits: device.computeUnits, memory: device.globalMemory, largestBuffer: device.maxAllocation,
                profile: try KernelProfile.automatic(for: device).rawValue, tuning: tuning.description,
                parameters: tuning.tuning.text)
        }
        if json { return try Output.json(rows) }
        guard !rows.isEmpty else {
            Output.line(Device.noDevice.message)
            return
        }
        Output.line(
            TextTable.text(
                [
                    .init("index", alignment: .right), .init("address"), .init("device"), .init("platform"), .init("driver"),
                    .init("units", alignment: .right), .init("memory", alignment: .right),
                    .init("largest buffer", alignment: .right), .init("profile"), .init("tuning"),
                ],
                rows: rows.map {
                    [
                        "\($0.index)", $0.address, $0.name, $0.platform, $0.driver, "\($0.computeUnits)",
                        NumberText.bytes($0.memory),
                        NumberText.bytes($0.largestBuffer), $0.profile, $0.tuning,
                    ]
                }))
        for row in rows where !row.parameters.isEmpty { Output.line("parameters of \(row.index): \(row.parameters)") }
    }
}
