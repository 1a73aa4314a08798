//! Keys that sign the tokens of tests. They are good for nothing else.

/// PKCS #1, base64.
pub const RSA_PRIVATE: &str = "\
    MIIEogIBAAKCAQEApNpfqFybqam0p7SixZJoLSC0fBs2Cuw3LFUDUZPxPXgNKSs7JgS6gstY/Fm2tPzNRQAzWPJKuFgCKkNI9eLa\
    Qe2Pivvb0TI3RvbOeqfrqqbf+u6WryEvJrBro/cCa9he2vtQwswX5VNYT2eCjk935bcOC4VxVi+fKPwyBINuU5z/D0JhVSctcgVS\
    vsj80OwcK8Qra6wCWvhDGQXglP/m1IBaQMIu4GJEPMEt2KiF/7CPEebsRaGtSBwpdb21CgZxKxdL0BqrQOyWZftf5+MDe0O5FK+q\
    FIhZGyKc35VVwGbqU6p3gX1CHcQ3DpPPZ1WxyPsJRq6WXlwWolLrAW9zrQIDAQABAoIBAAp0yBTONu4L070VZy5Kldf9lzpjTB9k\
    5y+lKW45s4H3b4zubzR/Sp3e1wM+j35VpebGrKXAzH4lJZICWDTcZtqVU6xNmEjhu1bWyGGdmAQ9dxRxS1Z1WjUagzalsAjLcwzH\
    Bv2BY3yfYjO7Itvy7MMXGXQf9SsxybxtmUs8U47zBWM7/JBPGNo1b+f8/FwNluIiJ8WivSk7taTBw2vYfWPglGJ+T81pTbCith5V\
    WH2VNvPCW0OECczI+sVQJJq6rliP9d9hwNL8H/vEiF85eAlSldqo26xdpxUrZFiZl6fix0NFXATWAbEWF7M9Te2E3dnLYl3oBnE7\
    j4sx447yJ3ECgYEA1SCu4rUzQnWN3NCqGUekL9RE5I7/6hn7+EWNnDIYWgrSkvRPqONn+2wbfZXFiU5yNGbtr88QRS5WtrBEidzK\
    efU1zs2plqnrVa59F3vzWPZuOqWgpV4V/uZkzKfFCGyWaBCj0xG8pzmiKtDqrI+cTsgLeraTkOvEgPXG2MSaXkkCgYEAxgO3yoVT\
    6MVUdn0wp8FJI2foQ94RSB4dm3a/n5EmecQgs36TdA2ZZOl2QI2PpGTF0blldfNfY+H3z7oItWmxhwcuJUKYe3v7edqjElA2SdUc\
    +8vVjI5gKDWtU/r4nUwcMCUeZXv5uUcdKjkFXtEwMWBg6lFDrUr413jz+xy7ukUCgYBka0zbluL7GmZoN40d8iqDOrHnOxWLmQim\
    1ya9BMGCk3zaLvDls5hH140wZAQ6CNM4q5KsdpTE8+t5kp4IkxZ31jivIyoXyiIPMfLQwN9M+HfBfE6v/B/DBY1S/G2S5Y8Mo2J9\
    Tesko7wsDlm0SsosOIdoH2RyMRRaavNxKVlOuQKBgAkbRqqTsyYzXQ0N+NzeMMTmFHJ6lgThDa+GqI1oGYLkGDTpD1L5BSL08bFK\
    UV7YG5jnk9j21l47mC//eEMPl1CEbgTcqTKUox4ZhgJjmfuPR4P0/d829QkkXtJL6n8hbvJv4pP8PaHduWOlt6+Co1rB+fMMxbYE\
    iqkuMNpNmfyZAoGALpEgUwib6Mpm5P7Jn6a7FNIptMWAfNoHYNSeTFEVK2jkrsYkkINgGifoiPbeV31MeIYU/bu/AA22mwx0xNz+\
    JmsPrDZ6xd2C2Pzp1KNw/l06r+7Lf6GOZ6Y+iOO74AlCQuiirln6Ai5rjIqj7AWowmDz7aVWWIAwII0DhO7bMig=";
/// The modulus, as in a JSON Web Key; the exponent is `AQAB`.
pub const RSA_N: &str = "\
    pNpfqFybqam0p7SixZJoLSC0fBs2Cuw3LFUDUZPxPXgNKSs7JgS6gstY_Fm2tPzNRQAzWPJKuFgCKkNI9eLaQe2Pivvb0TI3RvbO\
    eqfrqqbf-u6WryEvJrBro_cCa9he2vtQwswX5VNYT2eCjk935bcOC4VxVi-fKPwyBINuU5z_D0JhVSctcgVSvsj80OwcK8Qra6wC\
    WvhDGQXglP_m1IBaQMIu4GJEPMEt2KiF_7CPEebsRaGtSBwpdb21CgZxKxdL0BqrQOyWZftf5-MDe0O5FK-qFIhZGyKc35VVwGbq\
    U6p3gX1CHcQ3DpPPZ1WxyPsJRq6WXlwWolLrAW9zrQ";
/// P-256, PKCS #8, base64.
pub const EC_PRIVATE: &str = "\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgsqOOkC1PsvxUZ+hvXVmFbx/Q9BgDnQUO/LzV/R7O/6yhRANCAATV\
    rka/RGi2lmQxfpwzE2ksFYKVMK0Q5UT+WosGnKUTrIdEkdrTSk5E0+5qWV558sLhjYQVAynswSPBa2Vy7saY";
/// As in a JSON Web Key.
pub const EC_X: &str = "1a5Gv0RotpZkMX6cMxNpLBWClTCtEOVE_lqLBpylE6w";
/// As in a JSON Web Key.
pub const EC_Y: &str = "h0SR2tNKTkTT7mpZXnnywuGNhBUDKezBI8FrZXLuxpg";
/// Ed25519, PKCS #8, base64.
pub const ED_PRIVATE: &str = "MC4CAQAwBQYDK2VwBCIEIIGGKkodXE+IMe2Zqbq5x6mbBYSCUObhdXKreu3UX5xi";
/// As in a JSON Web Key.
pub const ED_X: &str = "NbohNMwEnbrsR9tBIqBXH5SHukt7gH3hioYHn_ugrvw";
