import ArgumentParser
import RLD

struct DataCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data", abstract: "Inspects a data set: counts, sizes, damaged files, mean and deviation.",
        discussion: """
            NAME is one of: \(DatasetCatalog.descriptions.map { "\($0.name) (\($0.meaning))" }.joined(separator: "; ")).

            Example: rld data folder:~/pictures --sheet pictures.png
            """)

    @Argument(help: "Data set as NAME or NAME:PATH; a path alone is read as folder:PATH.")
    var data: String

    @Option(parsing: .unconditional, help: "Side of the square that networks get to see.")
    var imageSize: Int?

    @Option(help: "Write a contact sheet, a row of images per class, as PNG.", completion: .file(extensions: ["png"]))
    var sheet: String?

    @Flag(help: "Print the result as JSON on standard output.")
    var json = false

    func run() throws {
        let (found, dataset) = try DatasetInspection.inspect(data, options: DatasetOptions(imageSize: imageSize))
        if let sheet { try dataset.writeContactSheet(sheet) }
        if json { return try Output.json(found) }
        Output.line(
            "\(oneLine(found.data)): \(found.trainImages) training images, "
                + (found.validationImages > 0 ? "\(found.validationImages) validation images, " : "")
                + "\(found.testImages) test images, \(found.classes.count) classes"
        )
        Output.line("seen as \(found.input.map(String.init).joined(separator: "x")), content hash \(found.contentHash)")
        for note in found.notes { Output.line(oneLine(note)) }
        let sizes = found.sizes.prefix(5).map { "\($0.width)x\($0.height) (\($0.images))" }.joined(separator: ", ")
        Output.line("sizes: \(sizes)\(found.sizes.count > 5 ? " and \(found.sizes.count - 5) others" : "")")
        func list(_ values: [Float]) -> String {
            values.map { NumberText.fixed(Double($0), decimals: 4) }.joined(separator: ", ")
        }
        Output.line("mean \(list(found.mean)); deviation \(list(found.deviation))")
        Output.line("largest class / smallest class: \(NumberText.fixed(found.imbalance, decimals: 2))")
        Output.line(
            TextTable.text(
                ([.init("class"), .init("train", alignment: .right)]
                    + (found.validationImages > 0 ? [.init("validation", alignment: .right)] : [])
                    + [.init("test", alignment: .right)]),
                rows: found.classes.map {
                    [oneLine($0.name), "\($0.train)"] + (found.validationImages > 0 ? ["\($0.validation)"] : []) + ["\($0.test)"]
                }))
        for broken in found.broken { Output.line(oneLine("damaged: \(broken.file): \(broken.problem)")) }
        if !found.broken.isEmpty {
            Output.line("\(found.broken.count) damaged files; training leaves them out with --skip-broken")
        }
        if let sheet { Output.line("contact sheet: \(sheet)") }
    }
}
