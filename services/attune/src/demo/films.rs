//! Films for the demo, each in a sentence of our own.

/// A film: its id, its title, its genre, and what it is about.
pub type Film = (&'static str, &'static str, &'static str, &'static str);

/// Six films of each of four genres.
pub const FILMS: [Film; 24] = [
    ("alien", "Alien", "space", "The crew of a freighter in deep space takes a deadly creature aboard."),
    (
        "2001",
        "2001: A Space Odyssey",
        "space",
        "A spaceship's computer turns against the astronauts on the way to Jupiter.",
    ),
    (
        "solaris",
        "Solaris",
        "space",
        "A psychologist on a space station meets what a strange ocean makes of his memories.",
    ),
    ("gravity", "Gravity", "space", "Two astronauts drift in orbit after debris has destroyed their shuttle."),
    ("martian", "The Martian", "space", "An astronaut left behind on Mars grows potatoes and waits for rescue."),
    ("moon", "Moon", "space", "A lonely miner on the moon finds out that he is not the first."),
    ("casablanca", "Casablanca", "love", "A bar owner in wartime meets the woman again whom he never stopped loving."),
    ("amelie", "Amelie", "love", "A shy waitress in Paris brings others together and finds love herself."),
    ("sunrise", "Before Sunrise", "love", "Two strangers fall in love during one night in Vienna."),
    ("notting-hill", "Notting Hill", "love", "A bookseller falls in love with the most famous actress in the world."),
    ("sally", "When Harry Met Sally", "love", "Two friends take twelve years to find out that they love each other."),
    ("mood", "In the Mood for Love", "love", "Two neighbours grow close while their spouses have an affair."),
    ("godfather", "The Godfather", "crime", "The youngest son of a mafia family takes over his father's business."),
    ("heat", "Heat", "crime", "A detective hunts a gang of bank robbers through Los Angeles."),
    (
        "fargo",
        "Fargo",
        "crime",
        "A kidnapping in the snow goes wrong, and a patient policewoman investigates the murders.",
    ),
    (
        "chinatown",
        "Chinatown",
        "crime",
        "A private detective uncovers murder and corruption behind the water of a city.",
    ),
    ("seven", "Seven", "crime", "Two detectives follow a murderer who punishes the deadly sins."),
    ("goodfellas", "Goodfellas", "crime", "A boy grows up to be a gangster, and then a witness."),
    (
        "totoro",
        "My Neighbor Totoro",
        "animation",
        "Two girls meet friendly spirits in the forest beside their new home.",
    ),
    ("nemo", "Finding Nemo", "animation", "A clownfish crosses the ocean to find his captured son."),
    ("toys", "Toy Story", "animation", "A cowboy doll is jealous of the new toy of the boy whom they belong to."),
    ("up", "Up", "animation", "An old man flies his house away on balloons, with a boy scout aboard."),
    ("spirited", "Spirited Away", "animation", "A girl works in a bath house of spirits to save her parents."),
    ("ratatouille", "Ratatouille", "animation", "A rat who loves to cook makes a kitchen boy famous in Paris."),
];
