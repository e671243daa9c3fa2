-- Load and grid are what is asked for most: kept in the key, a site's month is a few pages and not one page a row.
ALTER TABLE rollup DROP CONSTRAINT rollup_pkey;
ALTER TABLE rollup ADD PRIMARY KEY (site_id, bucket)
    INCLUDE (load_w, load_w_min, load_w_max, grid_w, grid_w_min, grid_w_max);
ALTER TABLE rollup_hour DROP CONSTRAINT rollup_hour_pkey;
ALTER TABLE rollup_hour ADD PRIMARY KEY (site_id, bucket)
    INCLUDE (load_w, load_w_min, load_w_max, grid_w, grid_w_min, grid_w_max);
