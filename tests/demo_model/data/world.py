"""The countries of the world: capital and continent."""

_COUNTRIES = {
    "Africa": """Algeria:Algiers Angola:Luanda Benin:Porto-Novo Botswana:Gaborone Burkina_Faso:Ouagadougou
        Burundi:Gitega Cameroon:Yaoundé Cape_Verde:Praia Central_African_Republic:Bangui Chad:N'Djamena
        Comoros:Moroni Democratic_Republic_of_the_Congo:Kinshasa Djibouti:Djibouti Egypt:Cairo
        Equatorial_Guinea:Malabo Eritrea:Asmara Eswatini:Mbabane Ethiopia:Addis_Ababa Gabon:Libreville
        Gambia:Banjul Ghana:Accra Guinea:Conakry Guinea-Bissau:Bissau Ivory_Coast:Yamoussoukro Kenya:Nairobi
        Lesotho:Maseru Liberia:Monrovia Libya:Tripoli Madagascar:Antananarivo Malawi:Lilongwe Mali:Bamako
        Mauritania:Nouakchott Mauritius:Port_Louis Morocco:Rabat Mozambique:Maputo Namibia:Windhoek
        Niger:Niamey Nigeria:Abuja Republic_of_the_Congo:Brazzaville Rwanda:Kigali
        São_Tomé_and_Príncipe:São_Tomé Senegal:Dakar Seychelles:Victoria Sierra_Leone:Freetown
        Somalia:Mogadishu South_Africa:Pretoria South_Sudan:Juba Sudan:Khartoum Tanzania:Dodoma Togo:Lomé
        Tunisia:Tunis Uganda:Kampala Zambia:Lusaka Zimbabwe:Harare""",
    "Asia": """Afghanistan:Kabul Armenia:Yerevan Azerbaijan:Baku Bahrain:Manama Bangladesh:Dhaka
        Bhutan:Thimphu Brunei:Bandar_Seri_Begawan Cambodia:Phnom_Penh China:Beijing Georgia:Tbilisi
        India:New_Delhi Indonesia:Jakarta Iran:Tehran Iraq:Baghdad Israel:Jerusalem Japan:Tokyo Jordan:Amman
        Kazakhstan:Astana Kuwait:Kuwait_City Kyrgyzstan:Bishkek Laos:Vientiane Lebanon:Beirut
        Malaysia:Kuala_Lumpur Maldives:Malé Mongolia:Ulaanbaatar Myanmar:Naypyidaw Nepal:Kathmandu
        North_Korea:Pyongyang Oman:Muscat Pakistan:Islamabad Palestine:Ramallah Philippines:Manila Qatar:Doha
        Saudi_Arabia:Riyadh Singapore:Singapore South_Korea:Seoul Sri_Lanka:Sri_Jayawardenepura_Kotte Syria:Damascus
        Taiwan:Taipei Tajikistan:Dushanbe Thailand:Bangkok Timor-Leste:Dili Turkey:Ankara
        Turkmenistan:Ashgabat United_Arab_Emirates:Abu_Dhabi Uzbekistan:Tashkent Vietnam:Hanoi Yemen:Sanaa""",
    "Europe": """Albania:Tirana Andorra:Andorra_la_Vella Austria:Vienna Belarus:Minsk Belgium:Brussels
        Bosnia_and_Herzegovina:Sarajevo Bulgaria:Sofia Croatia:Zagreb Cyprus:Nicosia Czechia:Prague
        Denmark:Copenhagen Estonia:Tallinn Finland:Helsinki France:Paris Germany:Berlin Greece:Athens
        Hungary:Budapest Iceland:Reykjavik Ireland:Dublin Italy:Rome Kosovo:Pristina Latvia:Riga
        Liechtenstein:Vaduz Lithuania:Vilnius Luxembourg:Luxembourg_City Malta:Valletta Moldova:Chișinău
        Monaco:Monaco Montenegro:Podgorica Netherlands:Amsterdam North_Macedonia:Skopje Norway:Oslo
        Poland:Warsaw Portugal:Lisbon Romania:Bucharest Russia:Moscow San_Marino:San_Marino Serbia:Belgrade
        Slovakia:Bratislava Slovenia:Ljubljana Spain:Madrid Sweden:Stockholm Switzerland:Bern Ukraine:Kyiv
        United_Kingdom:London Vatican_City:Vatican_City""",
    "North America": """Antigua_and_Barbuda:Saint_John's Bahamas:Nassau Barbados:Bridgetown Belize:Belmopan
        Canada:Ottawa Costa_Rica:San_José Cuba:Havana Dominica:Roseau Dominican_Republic:Santo_Domingo
        El_Salvador:San_Salvador Grenada:Saint_George's Guatemala:Guatemala_City Haiti:Port-au-Prince
        Honduras:Tegucigalpa Jamaica:Kingston Mexico:Mexico_City Nicaragua:Managua Panama:Panama_City
        Saint_Kitts_and_Nevis:Basseterre Saint_Lucia:Castries Saint_Vincent_and_the_Grenadines:Kingstown
        Trinidad_and_Tobago:Port_of_Spain United_States:Washington,_D.C.""",
    "South America": """Argentina:Buenos_Aires Bolivia:Sucre Brazil:Brasília Chile:Santiago Colombia:Bogotá
        Ecuador:Quito Guyana:Georgetown Paraguay:Asunción Peru:Lima Suriname:Paramaribo Uruguay:Montevideo
        Venezuela:Caracas""",
    "Oceania": """Australia:Canberra Fiji:Suva Kiribati:Tarawa Marshall_Islands:Majuro Micronesia:Palikir
        Nauru:Yaren New_Zealand:Wellington Palau:Ngerulmud Papua_New_Guinea:Port_Moresby Samoa:Apia
        Solomon_Islands:Honiara Tonga:Nukuʻalofa Tuvalu:Funafuti Vanuatu:Port_Vila""",
}


def _countries() -> dict[str, tuple[str, str]]:
    table: dict[str, tuple[str, str]] = {}
    for continent, text in _COUNTRIES.items():
        for entry in text.split():
            country, capital = entry.replace("_", " ").split(":")
            table[country] = (capital, continent)
    return table


#: country -> (capital, continent)
COUNTRIES = _countries()

_ARTICLES = {
    *(
        "Bahamas",
        "Central African Republic",
        "Comoros",
        "Democratic Republic of the Congo",
        "Gambia",
        "Maldives",
    ),
    *(
        "Marshall Islands",
        "Netherlands",
        "Philippines",
        "Republic of the Congo",
        "Seychelles",
        "Solomon Islands",
    ),
    *("Dominican Republic", "United Arab Emirates", "United Kingdom", "United States"),
}


def in_sentence(country: str) -> str:
    """The country as it stands inside a sentence, with its article where it has one."""
    return f"the {country}" if country in _ARTICLES else country
