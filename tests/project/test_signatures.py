"""Pinned signatures: what calls of the public functions and classes may rely on.

A change here is a change of the interface: docs/stability.md says what it takes.
"""

import inspect
from enum import Enum
from importlib import import_module
from operator import attrgetter

import pytest

UPRIGHT, AS_STORED = (
    f"ImagePolicy(orientation='{orientation}', deep_gray='stretch', background=(255, 255, 255))"
    for orientation in ("upright", "stored")
)

# For each public module all names of its __all__. A class has the signature of its constructor, an
# enumeration its members; NAME.METHOD is a method that is called with tensors.
SIGNATURES = {
    "wsolrefine": {
        "ClassActivation": "(logits, labels, cam, features, layer_cams, bagcams)",
        "Classifier": "(model, preprocess, class_names, name, logits=None, call=None)",
        "ConfSeg": "(confident, foreground, background)",
        "Gaussian": "(mean, covariance)",
        "GraphOutput": "(labels, scores, maps, boxes)",
        "Instances": "(masks, boxes, scores)",
        "Layers": "(features, cam, head)",
        "Localization": "(labels, scores, maps, masks, boxes, coarse, logits, threshold, parts,"
        " method, regions=True, class_names=None, images=None, objects=None)",
        "Localization.at": "(self, threshold, *, parts=None)",
        "Localization.plot": "(self, images=None, *, index=None)",
        "Localization.to": "(self, device)",
        "Localization.to_supervision": "(self)",
        "Localizer": "(model, *, refine='balanced', threshold=None, parts='largest', layers=None,"
        " to_map=None, preprocess=None, class_names=None, logits=None, call=None)",
        "LocalizerGraph": "(localizer, *, top=1, size=None)",
        "LocalizerGraph.forward": "(self, images)",
        "OnnxDifferences": "(scores, maps, boxes)",
        "save_onnx": "(localizer, path, *, top=1, size=None, images=None, tolerance=0.001)",
        "Localizer.class_maps": "(self, images, labels=None, top=1)",
        "Localizer.forward": "(self, images, labels=None, top=1, *, size=None)",
        "Localizer.open": f"(self, path, labels=None, top=1, *, size=None, policy={UPRIGHT})",
        "Localizer.prepare_batch": "(self, pixels)",
        "Localizer.prepare_image": "(self, image)",
        "Preprocess": "(size=(224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),"
        " interpolation='bilinear')",
        "attentive_erasing": "(probability, *, threshold=0.5, drop=0.5, size=(0.1, 0.5),"
        " generator=None)",
        "bagcams": "(activation, scores, *, to_map=None)",
        "box_iou": "(boxes1, boxes2, *, inclusive=False)",
        "capture": "(model, *layers)",
        "class_activation": "(model, images, *, labels=None, top=1, layers=None, to_map=None, "
        "logits=None, call=None, layer_cams=0, bagcams=0)",
        "coarse_to_fine": "(maps, image, *, threshold=0.5, scales=(4, 2, 1), kernel_size=11)",
        "component_boxes": "(mask)",
        "confseg": "(cam)",
        "confseg_thresholds": "(cam)",
        "connected_components": "(mask, *, connectivity=8)",
        "conv_crf": "(unary, image, *, iterations=5, kernel_size=21, appearance_weight=10.0,"
        " appearance_std=10.0, color_std=0.08, smoothness_weight=1.0, smoothness_std=1.5)",
        "find_layers": "(model, images, *, layers=None, to_map=None, logits=None, call=None)",
        "find_stages": "(model, images, *, to_map=None, logits=None, call=None)",
        "feature_affinity": "(features, *, size, power=3.0)",
        "fit_gaussian": "(weights)",
        "gap_cam": "(features, weight, labels)",
        "gaussian_map": "(gaussian, size)",
        "gppl": "(cam)",
        "gppl_released": "(cam, *, size=256, low=0.1, high=0.5, shrink=10, min_area=20)",
        "grad_cam": "(activation, scores, *, to_map=None)",
        "instance_labels": "(maps, *, threshold, min_prominence=0.3, min_area=0.01)",
        "label_spreading": "(cam, features, image=None, *, alpha=0.95, size=None)",
        "largest_box": "(mask)",
        "layer_cam": "(activation, scores, *, to_map=None)",
        "load_classifier": "(spec='efficientnet-lite0', *, checkpoint=None, class_names=None, size=None, mean=None, std=None)",
        "localize": "(model, images, labels=None, *, top=1, size=None, **options)",
        "minmax": "(maps)",
        "multiply_maps": "(maps, *, powers=None)",
        "ncut": "(cam, features, *, threshold=0.2, size=None)",
        "outline": "(mask)",
        "pamr": "(maps, image, *, iterations=10, dilations=(1, 2, 4, 8, 12, 24))",
        "pc1": "(cam, features, *, size=None)",
        "pseudo_boundary": "(mask_probability, image, *, threshold=0.5, low=100.0, high=200.0,"
        " tolerance=5.0)",
        "pseudo_label": "(cam, *, foreground=0.5, background=0.004, ignore_index=255)",
        "scg": "(cam, features, *, orders=(1, 2), foreground=0.6, background=0.3, block_size=None)",
        "scg_released": "(cam, features, *, first_threshold=0.1, second_threshold=0.5,"
        " second_weight=2.0, order=2, foreground=0.1, background=0.05)",
        "self_correlation": "(features, *, orders=(1, 2))",
        "self_correlation_released": "(features, *, first_threshold=0.1, second_threshold=0.5,"
        " second_weight=2.0, order=2)",
        "sem": "(cam, features, *, num_seeds=60)",
        "suppress_non_maxima": "(edges)",
        "thin": "(mask)",
        "tokens_to_map": "(tokens, *, grid=None, num_prefix_tokens=0)",
        "union_box": "(mask)",
    },
    "wsolrefine.data": {
        "CUB": f"(root, *, split='test', transform=None, policy={AS_STORED})",
        "ILSVRC": f"(root, *, split='val', masks=None, transform=None, policy={AS_STORED})",
        "Annotation": "(image_id, label, size, boxes)",
        "ImageFolder": f"(root, *, transform=None, policy={UPRIGHT})",
        "ImagePolicy": UPRIGHT.removeprefix("ImagePolicy"),
        "OpenImages": f"(root, *, metadata, split='test', transform=None, policy={AS_STORED})",
        "RandomCrop": "(size=256, crop=224, flip=0.5, interpolation='bilinear')",
        "ScoreMaps": "(folder)",
        "ScoreMaps.maps": "(self, image_id)",
        "UnlabeledFolder": f"(root, *, transform=None, policy={UPRIGHT})",
        "UnreadableImage": "(path, got, expected='an image')",
        "WsolEvaluation": f"(metadata, *, images=None, transform=None, policy={AS_STORED})",
        "read_image": f"(path, policy={UPRIGHT})",
    },
    "wsolrefine.export": {
        "Object": "(label, name, score=None, box=None, mask=None, map=None)",
        "Record": "(name, width, height, objects=(), image=None, id=None)",
        "Results": "(folder, names, records=None)",
        "RunLengths": "(counts, size)",
        "Used": "(records, names)",
        "read_results": "(folder)",
        "records_of": "(localization, images, *, names=None)",
        "select_objects": "(records, *, labels=None, min_score=0.0)",
        "used_classes": "(records)",
        "write_coco": "(records, out, *, names=None, images='link', polygons=False, tolerance=1.0)",
        "write_coco_results": "(records, out, *, like=None)",
        "write_csv": "(records, out)",
        "write_labelme": "(records, out, *, images='link', tolerance=1.0)",
        "write_labelstudio": "(records, out, *, names=None, prefix='/data/local-files/?d=', shapes='brush', tolerance=1.0)",
        "write_masks": "(records, out, *, names=None, images='link', foreground=None, background=None, overlap='score')",
        "write_sam": "(records, out, *, points=3, negatives=3, background=0.1)",
        "write_voc": "(records, out, *, images='link')",
        "write_yolo": "(records, out, *, names=None, images='link', segments=False, tolerance=1.0, validation=0.0)",
    },
    "wsolrefine.losses": {
        "area_loss": "(probability, *, logits=False, reduction='mean')",
        "coaug_loss": "(foreground, background, confident_background, label, *, gamma=1.0,"
        " delta=1.0, reduction='mean')",
        "confseg_loss": "(auxiliary_map, cam, *, reduction='mean')",
        "entropy_loss": "(probability, *, logits=False, reduction='mean')",
        "hard_negative_suppression_loss": "(probability, boundary, *, negative_weight=1.0,"
        " suppression=True, logits=False, reduction='mean')",
        "masked_bce_loss": "(logits, target, *, ignore_index=255, reduction='mean')",
        "multiplicative_loss": "(deep_logits, fused_logits, label, *, distill=False,"
        " reduction='mean')",
        "restricted_activation_loss": "(logit_map, label, *, threshold, gap, released=False,"
        " reduction='mean')",
        "weighted_entropy_loss": "(probability, *, mean=0.5, std=0.1, detach_weight=False,"
        " logits=False, reduction='mean')",
    },
    "wsolrefine.metrics": {
        "BoundaryResult": "(ods, ods_threshold, ois, average_precision, thresholds, precision,"
        " recall)",
        "BoundaryScore": "(*, thresholds=None, tolerance=0.0075, suppress=True, **kwargs)",
        "BoundaryScore.compute": "(self)",
        "BoundaryScore.details": "(self)",
        "BoundaryScore.plot": "(self, val=None, ax=None)",
        "BoundaryScore.update": "(self, edges, boundaries)",
        "BoxAccuracy": "(accuracy, accuracies, best_thresholds, thresholds, curve)",
        "ErrorRates": "(right, classification, multi_instance, part, more, other)",
        "LocalizationAccuracy": "(*, hit, iou=0.5, inclusive=False, **kwargs)",
        "LocalizationAccuracy.compute": "(self)",
        "LocalizationAccuracy.details": "(self)",
        "LocalizationAccuracy.plot": "(self, val=None, ax=None)",
        "LocalizationAccuracy.update": "(self, boxes, labels, target_boxes, target_labels,"
        " gt_known_boxes=None)",
        "LocalizationError": "right=0, classification=1, multi_instance=2, part=3, more=4, other=5",
        "LocalizationErrors": "(*, inclusive=False, **kwargs)",
        "LocalizationErrors.compute": "(self)",
        "LocalizationErrors.details": "(self)",
        "LocalizationErrors.plot": "(self, val=None, ax=None)",
        "LocalizationErrors.update": "(self, boxes, labels, target_boxes, target_labels)",
        "LocalizationRates": "(top1, top5, gt_known)",
        "MaxBoxAcc": "(*, thresholds=None, ious=(0.5,), half_open=False, **kwargs)",
        "MaxBoxAcc.compute": "(self)",
        "MaxBoxAcc.details": "(self)",
        "MaxBoxAcc.plot": "(self, val=None, ax=None)",
        "MaxBoxAcc.update": "(self, maps, boxes, image_sizes=None)",
        "MaxBoxAccV2": "(*, thresholds=None, ious=(0.3, 0.5, 0.7), half_open=False, **kwargs)",
        "MaxBoxAccV2.compute": "(self)",
        "MaxBoxAccV2.details": "(self)",
        "MaxBoxAccV2.plot": "(self, val=None, ax=None)",
        "MaxBoxAccV2.update": "(self, maps, boxes, image_sizes=None)",
        "PeakIoU": "(*, aggregate='pooled', ignore_index=255, **kwargs)",
        "PeakIoU.compute": "(self)",
        "PeakIoU.details": "(self)",
        "PeakIoU.plot": "(self, val=None, ax=None)",
        "PeakIoU.update": "(self, maps, masks)",
        "PeakIoUResult": "(peak_iou, peak_threshold, curve, precision, recall, average_precision)",
        "PixelPrecision": "(average_precision, precision, recall)",
        "PxAP": "(*, thresholds=None, ignore_index=255, **kwargs)",
        "PxAP.compute": "(self)",
        "PxAP.details": "(self)",
        "PxAP.plot": "(self, val=None, ax=None)",
        "PxAP.update": "(self, maps, masks)",
        "boundary_score": "(counts, best=None, *, thresholds=None)",
        "count_boundary_matches": "(edges, boundaries, *, thresholds=None, tolerance=0.0075,"
        " suppress=True)",
        "count_box_hits": "(maps, boxes, *, image_sizes=None, thresholds=None, ious=(0.5,),"
        " all_contours=False)",
        "count_box_hits_half_open": "(maps, boxes, *, image_sizes=None, thresholds=None,"
        " ious=(0.5,), all_components=False)",
        "count_gray_levels": "(maps, masks, *, ignore_index=255)",
        "count_scores": "(maps, masks, *, thresholds=None, ignore_index=255)",
        "localization_errors": "(boxes, labels, target_boxes, target_labels, *, inclusive=False)",
        "localization_hits": "(boxes, labels, target_boxes, target_labels, *, hit, iou=0.5,"
        " inclusive=False, gt_known_boxes=None)",
        "match_boundaries": "(predicted, target, *, tolerance=0.0075)",
        "max_box_acc": "(hits, total, thresholds)",
        "peak_iou": "(counts, *, aggregate='pooled')",
        "pixel_average_precision": "(counts)",
        "prepare_score_map": "(map, size)",
        "score_map_boxes": "(map, threshold, *, all_contours=False)",
        "thresholds_of": "(step)",
    },
    "wsolrefine.nn": {
        "Activation": "(probability, auxiliary_logits)",
        "ActivationGenerator": "(in_channels, num_classes=None, *, inner_channels=None, width=64)",
        "ActivationGenerator.forward": "(self, features)",
        "ConvolutionalHead": "(in_channels, num_classes, *, width=1024, dropout=0.5)",
        "ConvolutionalHead.forward": "(self, features)",
        "EdgeHead": "(channels, *, width=128, size=(160, 160))",
        "EdgeHead.forward": "(self, features, maps)",
        "FeatureList": "(model, layers, *, call=None, logits=None)",
        "FeatureList.forward": "(self, images)",
        "FeatureList.with_logits": "(self, images)",
        "MFFMaps": "(deep, fused)",
        "MFFNet": "(channels, num_outputs, *, stages=3, fusion='multiplication', attention=True,"
        " width=128, dropout=0.5)",
        "MFFNet.forward": "(self, features)",
        "MultiplicativeChannelAttention": "(channels, *, width=128)",
        "MultiplicativeChannelAttention.forward": "(self, features)",
        "stage_channels": "(backbone, images)",
    },
    "wsolrefine.recipes": {
        "Csoa": "(backbone, channels, num_classes, *, embedding=None, embedding_stage=-2,"
        " stage=-2, auxiliary_stage=-3, width=1024, dropout=0.5, epochs=100, confseg=True,"
        " confseg_weight=1.0, confseg_mean=True, coaug=True, coaug_weight=1.0, gamma=1.0,"
        " delta=1.0, map_threshold=0.3, learning_rate=0.001, backbone_learning_rate=0.001,"
        " decay=0.95, momentum=0.9, weight_decay=0.0005)",
        "Distill": "(backbone, channels, num_classes, *, teacher=None, use_labels=False,"
        " student='generator', student_stages=(-3, -2), width=64, dropout=0.5, train_head=False,"
        " epochs=10, threshold=None, learning_rate=0.003, backbone_learning_rate=0.0)",
        "Distill.distillation_loss": "(self, images, found)",
        "Distill.loss": "(self, images, labels=None, *, epoch)",
        "Distill.teach": "(self, images, labels=None)",
        "Ornet": "(backbone, channels, num_classes, *, evaluator=None, head=None, reads=(-3, -2),"
        " multiplies=-3, layer=None, width=64, inner_channels=None, evaluator_epochs=0,"
        " head_epochs=5, generator_epochs=5, refinement_epochs=3, train_backbone=False,"
        " auxiliary_weight=1.0, refinement_auxiliary_weight=1.0, evaluate_at='features',"
        " entropy_weight=0.01, weighted=True, entropy_mean=0.5, entropy_std=0.1,"
        " area_weight=0.02, erasing=True, erasing_threshold=0.5, erasing_drop=0.5, with_cam=True, threshold=0.5,"
        " learning_rate=0.003, backbone_learning_rate=0.001, refinement_factor=0.33)",
        "Recipe": "(backbone, channels, num_classes, **hyper_parameters)",
        "Recipe.activate": "(self, images)",
        "Recipe.loss": "(self, images, labels, *, epoch)",
        "Recipe.prepare": "(self, epoch)",
        "RecipeMetadata": "(backbone, layers, channels, num_classes, class_names=None,"
        " preprocess=None, recipe='', hyper_parameters=<factory>, threshold=0.5,"
        " versions=<factory>)",
        "SemEdges": "(backbone, channels, num_classes, *, classifier_epochs=10, edge_epochs=5,"
        " refine=True, sem_stage=-2, num_seeds=60, map_threshold=0.5, suppression=True,"
        " negative_weight=1.0, edge_stages=4, width=128, edge_size=(160, 160), threshold=0.5,"
        " learning_rate=0.001, backbone_learning_rate=0.0001, decay=0.1, sgd=False)",
        "Spa": "(backbone, channels, num_classes, *, stage=-2, width=1024, dropout=0.5,"
        " epochs=100, warmup_epochs=20, restriction_weight=0.5, restriction_threshold=0.1,"
        " restriction_gap=0.2, restriction_released=True, refine=True, scg_stages=(-3, -2),"
        " orders=(1, 2), foreground=0.6, background=0.3, threshold=0.35, learning_rate=0.01,"
        " backbone_learning_rate=0.001, momentum=0.9, weight_decay=0.0005)",
        "Spol": "(backbone, channels, num_classes, *, classifier=None, cam_epochs=32,"
        " segmentation_epochs=32, stages=3, fusion='multiplication', attention=True,"
        " auxiliary=True, distill=False, width=128, dropout=0.5, gaussian=False,"
        " foreground=0.2, background=0.1, with_cam=True, cam_threshold=0.15,"
        " segmentation_threshold=0.2,"
        " learning_rate=0.02, backbone_learning_rate=0.002, momentum=0.9, weight_decay=0.0005)",
        "load_recipe": "(path, *, backbone=None)",
        "read_metadata": "(path)",
        "save_recipe": "(path, recipe, metadata)",
    },
    "wsolrefine.viz": {
        "contact_sheet": "(rows, titles, path, *, captions=None, cell=2.2)",
        "draw_boxes": "(image, boxes, *, labels=None, color=(255, 255, 255), width=None,"
        " dashed=False)",
        "overlay": "(image, map, alpha=0.5, *, colormap='turbo')",
        "plot_bars": "(values, path, *, x_label, title=None)",
        "plot_curves": "(series, path, *, x_label, y_label, title=None, marks=None)",
    },
}


def described(found):
    if inspect.isclass(found) and issubclass(found, Enum):
        return ", ".join(f"{member.name}={member.value!r}" for member in found)
    parameters = inspect.signature(found).parameters.values()
    return str(inspect.Signature([p.replace(annotation=p.empty) for p in parameters]))


@pytest.mark.parametrize("module", SIGNATURES)
def test_the_public_names_are_exactly_these(module):
    pinned = {name for name in SIGNATURES[module] if "." not in name}
    assert {*import_module(module).__all__} == pinned


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in SIGNATURES.items() for name in names]
)
def test_signature(module, name):
    assert described(attrgetter(name)(import_module(module))) == SIGNATURES[module][name]
