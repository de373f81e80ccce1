"""What people say about faces: the words that captions are made of, see `captions.py`."""

# (meaning, adjectives, things that a face is "with", nouns). "-x": without x. "+x": x is worn. The first part of the
# meaning decides how often a row is drawn: every value of a category equally often. Each family of models has its own
# categories and values, and takes the rows that speak of these alone.
SAYINGS: tuple[tuple[str, str, str, str], ...] = (
    ("hair_colour=black", "black-haired, dark-haired", "black hair, jet black hair, dark black hair, raven hair", ""),
    (
        "hair_colour=brown",
        "brown-haired, brunette",
        "brown hair, brunette hair, chestnut hair, dark brown hair",
        "brunette",
    ),
    (
        "hair_colour=red",
        "red-haired, ginger, redheaded",
        "red hair, ginger hair, orange hair, copper hair, auburn hair",
        "redhead",
    ),
    (
        "hair_colour=blonde",
        "blonde, blond, fair-haired, blonde-haired",
        "blonde hair, blond hair, golden hair, yellow hair, fair hair",
        "blonde",
    ),
    ("hair_colour=grey", "grey-haired, gray-haired, white-haired", "grey hair, gray hair, white hair, silver hair", ""),
    ("hair_colour=blue", "blue-haired", "blue hair, bright blue hair, dyed blue hair", ""),
    ("hair_colour=purple", "purple-haired", "purple hair, violet hair, lilac hair, dyed purple hair", ""),
    ("hair_colour=pink", "pink-haired", "pink hair, bright pink hair, dyed pink hair", ""),
    (
        "hairstyle=bald",
        "bald, bald-headed, hairless, shaved-headed",
        "a bald head, a shaved head, no hair, a bald hairstyle",
        "skinhead",
    ),
    ("hairstyle=hair", "not bald", "a full head of hair, thick hair, lots of hair, a lot of hair", ""),
    (
        "hairstyle=mohawk",
        "punk",
        "a mohawk, mohawk hairstyle, a mohawk hairstyle, mohawk hair, a mohawk haircut, punk hair",
        "punk",
    ),
    ("hair_texture=straight", "straight-haired", "straight hair, sleek hair, smooth hair, straight hairstyle", ""),
    (
        "hair_texture=curly",
        "curly-haired, curly",
        "curly hair, wavy hair, curls, frizzy hair, curly hairstyle, a perm, permed hair",
        "",
    ),
    (
        "hair_texture=curly, hairstyle=hair",
        "",
        "an afro, afro hair, an afro hairstyle, afro hairstyle, big curly hair",
        "",
    ),
    ("hair_length=short", "short-haired", "short hair, cropped hair, a short haircut, short hairstyle, a buzz cut", ""),
    (
        "hair_length=long",
        "long-haired",
        "long hair, very long hair, shoulder-length hair, long hairstyle, flowing hair",
        "",
    ),
    ("fringe=no", "", "-a fringe, -bangs, -fringe, a bare forehead", ""),
    ("fringe=yes", "", "a fringe, bangs, fringe, hair bangs, a fringe hairstyle, hair over the forehead", ""),
    (
        "fringe=yes, hair_texture=straight, hair_length=short",
        "",
        "a bowl cut, bowl cut hairstyle, a bowlcut, bowlcut hairstyle, a bob cut, bob-cut hairstyle, a bobcut",
        "",
    ),
    (
        "skin=pale",
        "pale, light-skinned, fair-skinned, white",
        "pale skin, light skin, fair skin, white skin, a pale complexion",
        "",
    ),
    (
        "skin=tanned",
        "tanned, tan, olive-skinned, brown-skinned",
        "tanned skin, a tan, olive skin, brown skin, tan skin",
        "",
    ),
    ("skin=dark", "dark-skinned, black", "dark skin, black skin, a dark complexion, very dark skin", ""),
    (
        "gender=woman",
        "female, feminine",
        "female features, a feminine look",
        "woman, lady, female, female face, woman face, women, she, mrs",
    ),
    ("gender=woman,age=young", "girlish", "", "girl, young woman, young lady, girls"),
    ("gender=woman,age=old", "", "", "grandmother, old woman, old lady, grandma, elderly woman"),
    (
        "gender=man",
        "male, masculine, manly",
        "male features, a masculine look",
        "man, guy, male, gentleman, male face, man face, men, he, mr, dude",
    ),
    ("gender=man,age=young", "boyish", "", "boy, young man, young guy, boys"),
    ("gender=man,age=old", "", "", "grandfather, old man, old guy, grandpa, elderly man"),
    (
        "age=young",
        "young, youthful, young-looking",
        "smooth skin, a young face, -wrinkles",
        "child, kid, teenager, young person, youth",
    ),
    (
        "age=old",
        "old, elderly, aged, senior, ageing, wrinkled, very old",
        "wrinkles, an old face, wrinkled skin, old age",
        "old person, senior, elder, elderly person",
    ),
    ("beard=no", "clean-shaven, shaved, beardless, shaven", "-a beard, -beard, -facial hair", ""),
    (
        "beard=yes",
        "bearded",
        "a beard, beard, a full beard, a thick beard, a long beard, a bushy beard, facial hair, a goatee",
        "",
    ),
    ("moustache=no", "", "-a moustache, -moustache, -a mustache, -mustache", ""),
    (
        "moustache=yes",
        "moustached, mustachioed",
        "a moustache, moustache, a mustache, mustache, a thick moustache, a big mustache",
        "",
    ),
    ("eyewear=none", "", "-glasses, -eyeglasses, -spectacles, -eyewear, naked eyes", ""),
    (
        "eyewear=glasses",
        "bespectacled, spectacled",
        "+glasses, +eyeglasses, +spectacles, +reading glasses, +a pair of glasses, +eyewear",
        "",
    ),
    (
        "eyewear=sunglasses",
        "",
        "+sunglasses, +dark glasses, +shades, +a pair of sunglasses, +black sunglasses, +sun glasses",
        "",
    ),
    (
        "expression=sad",
        "sad, unhappy, sorrowful, crying, depressed, gloomy, upset",
        "a sad expression, a sad face, sadness, sad eyes, a sad look, a frown",
        "",
    ),
    (
        "expression=neutral",
        "expressionless, calm, serious, neutral, not smiling",
        "a neutral expression, a calm expression, a serious face, no expression, -a smile, a straight face",
        "",
    ),
    (
        "expression=smiling",
        "smiling, happy, grinning, laughing, joyful, cheerful, smiley, glad",
        "a smile, a big smile, a grin, a happy expression, a happy face, a smiling face, smile, laughter, joy",
        "",
    ),
    (
        "expression=surprised",
        "surprised, astonished, shocked, amazed, startled, scared, surprise",
        "a surprised expression, a surprised face, a shocked face, surprise, an open mouth, a surprised look, raised "
        "eyebrows",
        "",
    ),
    (
        "expression=angry",
        "angry, furious, mad, annoyed, grumpy, raging, enraged",
        "an angry expression, an angry face, anger, rage, an angry look, a scowl",
        "",
    ),
    ("eye_colour=brown", "brown-eyed, dark-eyed", "brown eyes, dark eyes, dark brown eyes, hazel eyes", ""),
    ("eye_colour=green", "green-eyed", "green eyes, bright green eyes, emerald eyes", ""),
    ("eye_colour=blue", "blue-eyed", "blue eyes, bright blue eyes, light blue eyes, azure eyes", ""),
    ("lips=bare", "", "-lipstick, natural lips, bare lips, -red lipstick, -painted lips", ""),
    (
        "lips=red",
        "red-lipped",
        "+red lipstick, red lips, bright red lips, +bright red lipstick, +dark red lipstick, deep red lips",
        "",
    ),
    (
        "lips=pink",
        "pink-lipped",
        "+pink lipstick, pink lips, bright pink lips, +bright pink lipstick, +rosy lipstick",
        "",
    ),
    ("lips=red,lips=pink", "", "+lipstick, painted lips, +bright lipstick, lipstick", ""),
    ("eyeshadow=no", "", "-eyeshadow, -eye shadow, -eye makeup, natural eyelids", ""),
    ("eyeshadow=no,lips=bare", "natural", "-makeup, -make-up, -make up, no makeup", ""),
    ("eyeshadow=yes", "", "+eyeshadow, +eye shadow, +eye makeup, eyeshadow, painted eyelids, +colourful eyeshadow", ""),
    (
        "eyeshadow=yes, lips=red, lips=pink",
        "made-up, glamorous",
        "+makeup, +make-up, +heavy makeup, +make up, makeup, heavy make-up, +cosmetics",
        "",
    ),
    ("earrings=no", "", "-earrings, -ear rings, -jewellery, bare ears", ""),
    ("earrings=yes", "", "+earrings, +hoop earrings, +gold earrings, +ear rings, earrings, +jewellery, +jewelry", ""),
    ("freckles=no", "", "-freckles, clear skin, flawless skin, -spots", ""),
    (
        "freckles=yes",
        "freckled, freckly",
        "freckles, freckled skin, freckles on the cheeks, a freckled face, many freckles",
        "",
    ),
    ("hat=no", "bareheaded", "-a hat, -hat, -a cap, -headwear", ""),
    ("hat=yes", "", "+a hat, +hat, +a cap, +a headscarf, +a beanie, +headwear, +a helmet", ""),
    ("lips=painted", "red-lipped", "+lipstick, painted lips, red lips, +red lipstick, +bright lipstick, lipstick", ""),
    ("makeup=no", "natural", "-makeup, -make-up, -make up, no makeup", ""),
    (
        "makeup=yes",
        "made-up, glamorous",
        "+makeup, +make-up, +heavy makeup, +make up, makeup, heavy make-up, +eye makeup, +cosmetics, +eyeshadow",
        "",
    ),
)
NOUNS = (
    "face, face, face, face, person, person, human, human face, portrait, head, someone, people, individual, human "
    "being"
)
PLAIN_THINGS = "hair, eyes, a nose, a mouth, lips, skin, ears, two eyes, a hairstyle, a face, a head, eyebrows, cheeks"
MEDIA = (
    "photo, photograph, picture, image, portrait, rendering, painting, drawing, sketch, sculpture, statue, tattoo, "
    "doodle, cartoon, art, rendition, depiction, close-up, headshot, snapshot, selfie, embroidery, graffiti, "
    "illustration, closeup photo"
)
QUALITIES = (
    "bad, good, blurry, low resolution, bright, dark, cropped, close-up, black and white, jpeg corrupted, "
    "pixelated, clean, dirty, weird, small, large, cool, nice, hard to see, plain, real, 3d, colour, high quality, "
    "studio, beautiful"
)
STUFF = "plastic, origami, plushie, toy, cartoon, embroidered, sculpted, painted, drawn, rendered, virtual"
WRAPS = (
    "{m} of {a} {x}",
    "a {m} of {a} {x}",
    "a {q} {m} of {a} {x}",
    "the {q} {m} of {a} {x}",
    "a {m} of {a} {q} {x}",
    "a {m} of one {x}",
    "a {m} of my {x}",
    "a {m} of many {x}",
    "{a} {x} in a video game",
    "the {s} {x}",
    "a {s} {x}",
    "itap of {a} {x}",
    "itap of my {x}",
    "there is {a} {x} in the scene",
    "this is {a} {x}",
    "{x}, a {m}",
    "i want {a} {x}",
    "make it {a} {x}",
)

# The plain text of each value, by which CLIP is asked for it; "{}" is the value.
PLAIN: dict[str, str | dict[str, str]] = {
    "hair_colour": "face with {} hair",
    "hairstyle": {"bald": "bald face", "hair": "face with a full head of hair", "mohawk": "face with a mohawk"},
    "hair_texture": "face with {} hair",
    "hair_length": "face with {} hair",
    "fringe": {"no": "face without a fringe", "yes": "face with a fringe"},
    "skin": "face with {} skin",
    "gender": "face of a {}",
    "age": "{} face",
    "beard": {"no": "face without a beard", "yes": "face with a beard"},
    "moustache": {"no": "face without a moustache", "yes": "face with a moustache"},
    "eyewear": {"none": "face without glasses", "glasses": "face with glasses", "sunglasses": "face with sunglasses"},
    "expression": {
        "sad": "sad face",
        "neutral": "face with a neutral expression",
        "smiling": "smiling face",
        "surprised": "surprised face",
        "angry": "angry face",
    },
    "eye_colour": "face with {} eyes",
    "lips": {
        "bare": "face without lipstick",
        "red": "face with red lipstick",
        "pink": "face with pink lipstick",
        "painted": "face with lipstick",
    },
    "eyeshadow": {"no": "face without eyeshadow", "yes": "face with eyeshadow"},
    "makeup": {"no": "face without makeup", "yes": "face with makeup"},
    "earrings": {"no": "face without earrings", "yes": "face with earrings"},
    "freckles": {"no": "face without freckles", "yes": "face with freckles"},
    "hat": {"no": "face without a hat", "yes": "face with a hat"},
}
