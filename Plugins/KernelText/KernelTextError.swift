/// A kernel file that cannot be expanded: file, line and reason.
package struct KernelTextError: Error, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}
