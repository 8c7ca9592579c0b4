import RLDDatasets
import RLDGraph
import RLDModels

extension Dataset {
    /// The named network for this data's classes and image extents.
    public func network(_ id: String) throws(InputError) -> Network {
        try ModelCatalog.network(id, classes: train.classes, input: inputShape)
    }
}
