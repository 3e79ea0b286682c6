"""Where the open training material comes from; copied into every card."""

from rtau.models import Provenance

FAIRFACE = Provenance(
    name="FairFace (subset)",
    licence="CC BY 4.0",
    origin="Kärkkäinen and Joo, WACV 2021; GitHub joojs/fairface",
    used_for="photos",
)
CALTECH = Provenance(
    name="Caltech 101, Faces",
    licence="CC BY 4.0",
    origin="Li, Andreetto, Ranzato, Perona; CaltechDATA",
    used_for="photos",
)
CONGRESS = Provenance(
    name="US Congress portraits",
    licence="public domain",
    origin="US Government Publishing Office; GitHub unitedstates/images",
    used_for="photos",
)
CANADA = Provenance(
    name="Young Adult White Faces; self-portraits of L. DeBruine",
    licence="CC BY 4.0; CC0",
    origin="DeBruine and Jones, figshare 10.6084/m9.figshare.4220517.v1; GitHub debruine/webmorphR.stim",
    used_for="photos",
)
GRID = Provenance(
    name="GRID audio-visual sentence corpus (10 clips)",
    licence="CC BY 4.0",
    origin="Cooke, Barker, Cunningham, Shao 2006; Zenodo 3625687",
    used_for="video frames",
)
INTEL = Provenance(
    name="Intel IoT sample videos (5 clips)",
    licence="CC BY 4.0",
    origin="GitHub intel-iot-devkit/sample-videos",
    used_for="video frames",
)
TEACHER = Provenance(
    name="MediaPipe Face Landmarker (float16, version 1)",
    licence="Apache-2.0",
    origin="Google",
    used_for="teacher: landmarks, head pose and blendshapes of the photos and frames; no part of it is contained",
)
CODING = Provenance(
    name="AUs coded by eye",
    licence="Apache-2.0",
    origin="rtau, docs/coding.md; the reader was a vision-language model, not a certified FACS coder",
    used_for="AU labels of the photos and of some frames",
)
BACKGROUNDS = Provenance(
    name="sample pictures of scikit-image and scikit-learn",
    licence="public domain, CC0 or CC BY, as listed by the packages",
    origin="installed packages",
    used_for="pictures without faces",
)
ICT_FACE = Provenance(
    name="ICT face model (light)",
    licence="MIT",
    origin="USC Institute for Creative Technologies; GitHub ICT-VGL/ICT-FaceKit",
    used_for="rendered faces: shape, expression",
)
MAKEHUMAN = Provenance(
    name="MakeHuman hair and irises",
    licence="CC0",
    origin="GitHub makehumancommunity/makehuman-assets",
    used_for="rendered faces: hair, hats, irises",
)

OPEN_MATERIAL = (FAIRFACE, CALTECH, CONGRESS, CANADA, GRID, INTEL, TEACHER)
