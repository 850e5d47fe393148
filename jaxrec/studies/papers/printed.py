"""What the papers' tables say, digit by digit: META ID (Huang et al., ICML 2025) and TokenRec (Qu et al. 2024).

Figures stand as they are printed, misprints included; what is known to be one is noted beside the table.
"""

from __future__ import annotations

import dataclasses

PAPERS = {"meta_id": "META ID", "token_rec": "TokenRec"}
"""By what the command line calls them."""


@dataclasses.dataclass(frozen=True)
class Published:
    """A table of a paper.

    Attributes:
      paper: one of `PAPERS`.
      number: the table's.
      caption: what it shows.
      first: head of the first column.
      datasets: as the paper calls them, left to right.
      columns: heads under each dataset.
      text: a line a row: its name and, for each dataset, the values of `columns`, parted by ";".
      notes: misprints and contradictions that are known, with the dataset ("" = whichever) each is about.
    """

    paper: str
    number: int
    caption: str
    first: str
    datasets: tuple[str, ...]
    columns: tuple[str, ...]
    text: str
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def rows(self) -> dict[str, dict[str, dict[str, str]]]:
        """Row, dataset, column: the figure as printed."""
        rows = {}
        for line in self.text.strip().splitlines():
            name, *blocks = (part.strip() for part in line.split(";"))
            rows[name] = {d: dict(zip(self.columns, b.split(), strict=True)) for d, b in zip(self.datasets, blocks)}
        return rows

    @property
    def name(self) -> str:
        return f"{PAPERS[self.paper]}, table {self.number}"


_AMAZON = ("Sports", "Beauty", "Toys")
_AT_10 = ("H@5", "N@5", "H@10", "N@10")
_AT_30 = ("HR@10", "HR@20", "HR@30", "NG@10", "NG@20", "NG@30")
_DIRECT = ("", 'The row "META ID" of table 8, said to be sequential, repeats that of table 2, which is direct.')
_ORDERED = ("", "H@10 0.0014 of CID on Toys is below its H@5 of 0.0076, which can't be: a misprint.")
_KMEANS = ("Toys", "The row K-Means differs from META ID (T) of table 1 on Toys (0.0503, not 0.0533).")
_PATHS = ("", "The paper heads it Beauty, but the row Meta-Path-Based is that of META ID (T) on Sports in table 1.")
_CID = ("Beauty", "CID has HR@20 0.5234 (seen) and 0.3336 (unseen), ten times what the rows around it have: misprints.")

TABLES = (
    Published(
        "meta_id",
        1,
        "Sequential recommendation",
        "Methods",
        _AMAZON,
        _AT_10,
        """
Caser       ; 0.0116 0.0072 0.0194 0.0097; 0.0205 0.0131 0.0347 0.0176; 0.0166 0.0107 0.0270 0.0141
HGN         ; 0.0189 0.0120 0.0313 0.0159; 0.0325 0.0206 0.0512 0.0266; 0.0321 0.0221 0.0497 0.0277
GRU4Rec     ; 0.0129 0.0086 0.0204 0.0110; 0.0164 0.0099 0.0283 0.0137; 0.0097 0.0059 0.0176 0.0084
BERT4Rec    ; 0.0115 0.0075 0.0191 0.0099; 0.0203 0.0124 0.0347 0.0170; 0.0116 0.0071 0.0203 0.0099
FDSA        ; 0.0182 0.0122 0.0288 0.0156; 0.0267 0.0163 0.0407 0.0208; 0.0228 0.0140 0.0381 0.0189
SASRec      ; 0.0233 0.0154 0.0350 0.0192; 0.0387 0.0249 0.0605 0.0318; 0.0463 0.0306 0.0675 0.0374
S3-Rec      ; 0.0251 0.0161 0.0385 0.0204; 0.0387 0.0244 0.0647 0.0327; 0.0443 0.0294 0.0700 0.0376
CL4SRec     ; 0.0219 0.0138 0.0358 0.0182; 0.0330 0.0201 0.0546 0.0270; 0.0427 0.0244 0.0617 0.0305
TIGER       ; 0.0264 0.0181 0.0400 0.0225; 0.0454 0.0320 0.0648 0.0384; 0.0521 0.0371 0.0712 0.0412
RID         ; 0.0208 0.0122 0.0288 0.0153; 0.0213 0.0178 0.0479 0.0277; 0.0044 0.0029 0.0062 0.0035
SID         ; 0.0223 0.0173 0.0294 0.0196; 0.0404 0.0299 0.0573 0.0354; 0.0050 0.0031 0.0088 0.0043
CID         ; 0.0269 0.0196 0.0378 0.0231; 0.0336 0.0227 0.0507 0.0281; 0.0172 0.0109 0.0279 0.0143
META ID (T) ; 0.0322 0.0223 0.0487 0.0277; 0.0510 0.0351 0.0753 0.0429; 0.0533 0.0372 0.0761 0.0441
META ID (L) ; 0.0392 0.0278 0.0561 0.0332; 0.0458 0.0320 0.0678 0.0391; 0.0387 0.0264 0.0535 0.0312
""",
    ),
    Published(
        "meta_id",
        2,
        "Direct recommendation",
        "Methods",
        _AMAZON,
        _AT_10,
        """
RID     ; 0.0030 0.0023 0.0042 0.0027; 0.0203 0.0155 0.0276 0.0178; 0.0046 0.0030 0.0063 0.0035
SID     ; 0.0211 0.0169 0.0267 0.0187; 0.0296 0.0226 0.0405 0.0261; 0.0025 0.0014 0.0041 0.0019
CID     ; 0.0250 0.0189 0.0342 0.0219; 0.0216 0.0147 0.0340 0.0187; 0.0076 0.0049 0.0014 0.0070
META ID ; 0.0357 0.0256 0.0520 0.0308; 0.0480 0.0336 0.0689 0.0403; 0.0564 0.0391 0.0803 0.0468
""",
        notes=(_ORDERED, _DIRECT),
    ),
    Published(
        "meta_id",
        3,
        "Rating prediction, explanation generation and review tasks",
        "Task and metric",
        _AMAZON[:2],
        ("RID", "SID", "CID", "META ID"),
        """
Rating, RMSE        ; 1.0382 1.0486 1.0383 1.0327; 1.2829 1.3098 1.2819 1.2818
Explanation, BLEU-1 ; 16.2567 16.5825 16.6121 16.9005; 18.2299 18.3981 19.3499 19.5106
Explanation, BLEU-4 ; 2.1782 2.1944 2.2332 2.3481; 2.9027 2.8071 3.0626 3.0592
Review, BLEU-1      ; 7.6140 7.7948 7.6586 7.8819; 6.2282 6.5055 6.5854 7.0500
Review, BLEU-4      ; 2.3228 1.2406 2.4109 2.6546; 1.9891 1.2406 1.9718 2.7485
""",
    ),
    Published(
        "meta_id",
        4,
        "Ways to group vectors into OOV tokens, sequential recommendation",
        "Methods",
        _AMAZON,
        _AT_10,
        """
DBSCAN   ; 0.0078 0.0043 0.0145 0.0065; 0.0257 0.0168 0.0428 0.0223; 0.0180 0.0109 0.0304 0.0149
Spectral ; 0.0199 0.0124 0.0336 0.0167; 0.0360 0.0236 0.0588 0.0310; 0.0295 0.0184 0.0514 0.0254
RQ-VAE   ; 0.0122 0.0077 0.0171 0.0093; 0.0368 0.0254 0.0536 0.0309; 0.0511 0.0335 0.0667 0.0395
K-Means  ; 0.0322 0.0223 0.0487 0.0277; 0.0510 0.0351 0.0753 0.0429; 0.0503 0.0352 0.0742 0.0429
""",
        notes=(_KMEANS,),
    ),
    Published(
        "meta_id",
        5,
        "Where the vectors come from, sequential recommendation",
        "Embedding Type",
        ("Beauty",),
        _AT_10,
        """
MF-based        ; 0.0220 0.0142 0.0344 0.0207
GCN-Based       ; 0.0267 0.0198 0.0382 0.0212
Meta-Path-Based ; 0.0322 0.0223 0.0487 0.0277
""",
        notes=(_PATHS,),
    ),
    Published(
        "meta_id",
        8,
        "Independent ids (IID), sequential recommendation",
        "Methods",
        _AMAZON,
        ("HR@5", "NDCG@5", "HR@10", "NDCG@10"),
        """
IID     ; 0.0114 0.0073 0.0208 0.0103; 0.0302 0.0194 0.0494 0.0256; 0.0146 0.0091 0.0217 0.0114
META ID ; 0.0357 0.0256 0.0520 0.0308; 0.0480 0.0336 0.0689 0.0403; 0.0564 0.0391 0.0803 0.0468
""",
        notes=(_DIRECT,),
    ),
    Published(
        "meta_id",
        11,
        "Rating, explanation and review tasks, all datasets",
        "Task and metric",
        _AMAZON,
        ("RID", "SID", "CID", "META ID"),
        """
Rating, RMSE        ; 1.0382 1.0486 1.0383 1.0327; 1.2829 1.3098 1.2819 1.2818; 1.0725 1.0693 1.0766 1.0770
Explanation, BLEU-1 ; 16.2567 16.5825 16.6121 16.9005; 18.2299 18.3981 19.3499 19.5106; 19.9858 20.2198 20.4570 20.2270
Explanation, BLEU-4 ; 2.1782 2.1944 2.2332 2.3481; 2.9027 2.8071 3.0626 3.0592; 4.3495 4.3701 4.5844 4.4945
Review, BLEU-1      ; 7.6140 7.7948 7.6586 7.8819; 6.2282 6.5055 6.5854 7.0500; 8.5336 8.0862 7.3846 8.3080
Review, BLEU-4      ; 2.3228 1.2406 2.4109 2.6546; 1.9891 1.2406 1.9718 2.7485; 1.1315 1.8366 1.2128 1.7061
""",
    ),
    Published(
        "meta_id",
        12,
        "Standard error of META ID (T), sequential recommendation",
        "Datasets",
        ("",),
        ("HR@5", "NDCG@5", "HR@10", "NDCG@10"),
        """
Sports ; 0.0322±0.00061 0.0223±0.00060 0.0487±0.00073 0.0277±0.00055
Beauty ; 0.0510±0.00038 0.0351±0.00044 0.0753±0.00131 0.0429±0.00075
Toys   ; 0.0533±0.00091 0.0372±0.00067 0.0761±0.00138 0.0441±0.00078
""",
        notes=(("", "The paper writes NCDG for NDCG, and does not say over how many runs."),),
    ),
    Published(
        "meta_id",
        13,
        "Inference time in milliseconds, T5 with META ID: per user (sequential, direct), per user-item pair "
        "(rating, explanation), per review (summarization, preference)",
        "Models",
        ("Toys",),
        ("Sequential", "Direct", "Rating", "Explanation", "Summarization", "Preference"),
        """
META ID (T) ; 74.05 68.60 5.21 17.28 9.67 8.55
""",
    ),
    Published(
        "token_rec",
        2,
        "Recommendation on LastFM and ML1M",
        "Model",
        ("LastFM", "ML1M"),
        _AT_30,
        """
BERT4Rec        ; 0.0319 0.0461 0.0640 0.0128 0.0234 0.0244; 0.0779 0.1255 0.1736 0.0353 0.0486 0.0595
SASRec          ; 0.0345 0.0484 0.0658 0.0142 0.0236 0.0248; 0.0785 0.1293 0.1739 0.0367 0.052 0.0622
S3Rec           ; 0.0385 0.0490 0.0689 0.0177 0.0266 0.0266; 0.0867 0.1270 0.1811 0.0361 0.0501 0.0601
MF              ; 0.0239 0.0450 0.0569 0.0114 0.0166 0.0192; 0.078 0.1272 0.1733 0.0357 0.0503 0.0591
NCF             ; 0.0321 0.0462 0.0643 0.0141 0.0252 0.0254; 0.0786 0.1273 0.1738 0.0363 0.0504 0.0601
LightGCN        ; 0.0385 0.0661 0.0982 0.0199 0.0269 0.0336; 0.0877 0.1288 0.1813 0.0374 0.0509 0.0604
GTN             ; 0.0394 0.0688 0.0963 0.0199 0.0273 0.0331; 0.0883 0.1307 0.1826 0.0378 0.0512 0.0677
LTGNN           ; 0.0471 0.076 0.0925 0.0234 0.0318 0.0354; 0.0915 0.1387 0.1817 0.0419 0.0570 0.0659
P5-RID          ; 0.0312 0.0523 0.0706 0.0144 0.0199 0.0238; 0.0867 0.1248 0.1811 0.0381 0.0486 0.0662
P5-SID          ; 0.0375 0.0536 0.0851 0.0224 0.0255 0.0261; 0.0892 0.1380 0.1784 0.0422 0.0550 0.0641
CID             ; 0.0381 0.0552 0.0870 0.0229 0.0260 0.0277; 0.0901 0.1294 0.1863 0.0379 0.0525 0.0706
POD             ; 0.0367 0.0572 0.0747 0.0184 0.0220 0.0273; 0.0886 0.1277 0.1846 0.0373 0.0487 0.0668
CoLLM           ; 0.0483 0.0786 0.1017 0.0234 0.0319 0.0366; 0.0923 0.1499 0.1998 0.0456 0.0620 0.0719
* (User ID Only)  ; 0.0505 0.0881 0.1128 0.0251 0.0345 0.0397; 0.0964 0.1546 0.2043 0.0493 0.0640 0.0745
* (Unseen Prompt) ; 0.0514 0.0917 0.1294 0.0252 0.0343 0.0422; 0.1012 0.1672 0.2144 0.0532 0.0698 0.0798
TokenRec        ; 0.0532 0.0936 0.1248 0.0247 0.0348 0.0415; 0.1008 0.1677 0.2149 0.0528 0.0697 0.0797
""",
    ),
    Published(
        "token_rec",
        3,
        "Recommendation on Beauty and Clothing",
        "Model",
        ("Beauty", "Clothing"),
        _AT_30,
        """
BERT4Rec        ; 0.0329 0.0464 0.0637 0.0162 0.0205 0.0255; 0.0135 0.0217 0.0248 0.0061 0.0074 0.0079
SASRec          ; 0.0338 0.0472 0.0637 0.0170 0.0213 0.0260; 0.0136 0.0221 0.0256 0.0063 0.0076 0.0081
S3Rec           ; 0.0351 0.0471 0.0664 0.0169 0.0237 0.0278; 0.0140 0.0213 0.0256 0.0069 0.0081 0.0086
MF              ; 0.0127 0.0195 0.0245 0.0063 0.0081 0.0091; 0.0116 0.0175 0.0234 0.0074 0.0088 0.0101
NCF             ; 0.0315 0.0462 0.0623 0.0160 0.0196 0.0237; 0.0119 0.0178 0.024 0.0072 0.0090 0.0103
LightGCN        ; 0.0344 0.0498 0.0630 0.0194 0.0233 0.0261; 0.0157 0.0226 0.0279 0.0085 0.0103 0.0114
GTN             ; 0.0345 0.0502 0.0635 0.0198 0.0241 0.0268; 0.0158 0.0226 0.0282 0.0084 0.0103 0.0111
LTGNN           ; 0.0385 0.0564 0.0719 0.0207 0.0252 0.0285; 0.0155 0.0218 0.0272 0.0082 0.0110 0.0116
P5-RID          ; 0.0330 0.0511 0.0651 0.0146 0.0200 0.0144; 0.0148 0.0225 0.0263 0.0071 0.0086 0.0095
P5-SID          ; 0.0340 0.0516 0.0672 0.0154 0.0231 0.0176; 0.0143 0.0222 0.0258 0.0070 0.0086 0.0091
CID             ; 0.0341 0.0516 0.0673 0.0165 0.0236 0.0177; 0.0146 0.0226 0.0276 0.0070 0.0087 0.0092
POD             ; 0.0339 0.0498 0.0639 0.0185 0.0222 0.0221; 0.0147 0.0225 0.0261 0.0074 0.0087 0.0091
CoLLM           ; 0.0391 0.0606 0.0772 0.0200 0.0259 0.0303; 0.0150 0.0218 0.0274 0.0079 0.0091 0.0117
* (User ID Only)  ; 0.0396 0.0599 0.0763 0.0214 0.0265 0.0300; 0.0160 0.0228 0.0282 0.0092 0.0109 0.0119
* (Unseen Prompt) ; 0.0402 0.0622 0.0791 0.0215 0.0270 0.0306; 0.0164 0.0233 0.0286 0.0096 0.0111 0.0124
TokenRec        ; 0.0407 0.0615 0.0782 0.0222 0.0276 0.0303; 0.0171 0.0240 0.0291 0.0108 0.0112 0.0130
""",
    ),
    Published(
        "token_rec",
        4,
        "Seen and unseen users: the 5% of users with the fewest events are kept out of training",
        "Model",
        ("LastFM", "Beauty"),
        ("Seen:HR@20", "Seen:NG@20", "Unseen:HR@20", "Unseen:NG@20"),
        """
P5       ; 0.0704 0.0320 0.0399 0.0137; 0.0511 0.0236 0.0274 0.0130
POD      ; 0.0709 0.0323 0.0401 0.0138; 0.0507 0.0225 0.0269 0.0123
CID      ; 0.0697 0.0314 0.0452 0.0196; 0.5234 0.0240 0.3336 0.0146
CoLLM    ; 0.0812 0.0336 0.0574 0.0235; 0.0612 0.0261 0.0477 0.0195
TokenRec ; 0.0973 0.0353 0.0773 0.0268; 0.0629 0.0289 0.0591 0.0266
""",
        notes=(_CID,),
    ),
    Published(
        "token_rec",
        5,
        "Inference time per user, in milliseconds",
        "Inference Time",
        ("LastFM", "ML1M", "Beauty", "Clothing"),
        ("ms",),
        """
P5            ; 96.04 ; 99.75 ; 86.39 ; 93.38
POD           ; 96.30 ; 101.42 ; 87.69 ; 94.48
CID           ; 94.96 ; 99.42 ; 84.87 ; 92.02
TokenRec      ; 6.92 ; 8.43 ; 5.76 ; 6.00
Acceleration* ; 1284% ; 1089% ; 1398% ; 1455%
""",
        notes=(("", "* The mean time of the rows above over TokenRec's, less one."),),
    ),
    Published(
        "token_rec",
        6,
        "Ablation studies",
        "Module",
        ("LastFM", "Beauty"),
        ("HR@20", "NG@20"),
        """
w/o HOCK    ; 0.0549 0.0172; 0.0407 0.0149
w/o K-way   ; 0.0820 0.0309; 0.0592 0.0250
w/o Masking ; 0.0848 0.0332; 0.0573 0.0253
Full*       ; 0.0936 0.0348; 0.0615 0.0276
""",
    ),
)


def published(paper: str, number: int) -> Published:
    """A paper's table.

    Raises:
      ValueError: the paper is not one of `PAPERS`, or has no such table here.
    """
    if paper not in PAPERS:
        raise ValueError(f"paper {paper!r} is none of {', '.join(PAPERS)}")
    found = {table.number: table for table in TABLES if table.paper == paper}
    if number not in found:
        known = ", ".join(map(str, found))
        raise ValueError(f"tables: {PAPERS[paper]} has no table of results {number}; give some of {known}")
    return found[number]
