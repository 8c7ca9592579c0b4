extension Double {
    /// As people write it in settings, without a needless fraction: `5`, `0.05`.
    package var plainText: String { self == rounded() && abs(self) < 1e15 ? String(Int(self)) : String(self) }
}
