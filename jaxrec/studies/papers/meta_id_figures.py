"""The printed figures of META ID (Huang et al., ICML 2025), tables 1 to 5, 8 and 11 to 13.

Figures stand as they are printed, misprints included; known ones are noted beside the table.
"""

from jaxrec.studies.papers.published import PublishedTable

_AMAZON = ("Sports", "Beauty", "Toys")
_AT_10 = ("H@5", "N@5", "H@10", "N@10")
_DIRECT = ("", 'The row "META ID" of table 8, said to be sequential, repeats that of table 2, which is direct.')
_ORDERED = ("", "H@10 0.0014 of CID on Toys is below its H@5 of 0.0076, which can't be: a misprint.")
_KMEANS = ("Toys", "The row K-Means differs from META ID (T) of table 1 on Toys (0.0503, not 0.0533).")
_PATHS = ("", "The paper heads it Beauty, but the row Meta-Path-Based is that of META ID (T) on Sports in table 1.")

META_ID_TABLES = (
    PublishedTable(
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
    PublishedTable(
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
    PublishedTable(
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
    PublishedTable(
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
    PublishedTable(
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
    PublishedTable(
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
    PublishedTable(
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
    PublishedTable(
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
    PublishedTable(
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
)
